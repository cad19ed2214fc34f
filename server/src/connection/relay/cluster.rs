//! The nodes of a cluster behind one connection of a client.
//!
//! Each request goes to the node that has its first key. Requests to one node are sent without waiting; one
//! to another node waits for the replies of the node before, so that replies keep their order. If a reply
//! names another node, its request is sent there, and the replies after it are held back until then.

use std::collections::VecDeque;

use ferrite_protocol::resp::Encoder;
use ferrite_upstream::{Account, Address, Gathered, REDIRECTIONS_MAX, Redirection};

use super::expected::Expected;
use super::keys::first_key;
use super::own_requests::{UNKNOWN_COMMAND, encoded};
use super::{Owed, Relay};

/// Bytes of requests that may have to be sent again, before more are read.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

const NOT_HERE: &str = "CROSSSLOT the keys of WATCH and MULTI are not all on one node of the cluster; if their slot has just moved, run the transaction again";

const NOT_IN_MULTI: &str = "ERR the command is for all nodes of the cluster, and a transaction is on one of them; the transaction is aborted";

/// The node of a request.
#[derive(Debug)]
pub(super) enum Chosen {
    /// The active one.
    Node(Redirected),
    /// It is chosen once earlier requests are answered.
    Later,
    /// None: it is answered.
    Answered,
}

/// The fate of a request whose reply names another node.
#[derive(Debug)]
pub(super) enum Redirected {
    /// The client sees the reply.
    PassOn,
    /// The client sees another error, as a part of a transaction cannot go elsewhere.
    Replace,
    /// It is sent there, after this many redirections.
    Follow(Vec<u8>, u32),
}

/// A reply that is held back, or the request that has to be sent again for it.
#[derive(Debug)]
enum Held {
    Reply(Vec<u8>),
    Again {
        request: Vec<u8>,
        redirections: u32,
        expected: Expected,
        to: Address,
        /// True if the slot is still moving there.
        asks: bool,
    },
}

/// A connection's knowledge of a cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterState {
    /// Replies from the first one on that named another node.
    held: VecDeque<Held>,
    /// True while the oldest request is sent again.
    follows: bool,
    /// Bytes of requests that may have to be sent again.
    kept_bytes: usize,
    /// The node on which keys are watched, or a transaction has begun.
    pub(super) pin: Option<Address>,
    /// True after `MULTI`, until a command tells its node.
    pub(super) multi_waits: bool,
    /// True once the client listens to channels.
    pub(super) subscribes: bool,
    /// True once the client has taken leave.
    pub(super) quits: bool,
    /// Complete pushes of nodes that owe nothing.
    pub(super) pushes: Vec<u8>,
}

impl ClusterState {
    /// Returns true if no more requests can be taken up before replies have come.
    pub(super) fn is_full(&self) -> bool {
        self.is_redirecting() || self.kept_bytes > KEPT_BYTES_MAX
    }

    /// Returns true if replies are held back.
    pub(super) fn is_redirecting(&self) -> bool {
        self.follows || !self.held.is_empty()
    }

    /// Counts a request that may have to be sent again.
    pub(super) fn keep(&mut self, redirected: &Redirected) {
        if let Redirected::Follow(request, _) = redirected {
            self.kept_bytes += request.len();
        }
    }

    /// Forgets a request, which is answered.
    pub(super) fn release(&mut self, redirected: &Redirected) {
        if let Redirected::Follow(request, _) = redirected {
            self.kept_bytes = self.kept_bytes.saturating_sub(request.len());
        }
    }

    /// Forgets transactions.
    pub(super) fn end_multi(&mut self) {
        self.pin = None;
        self.multi_waits = false;
    }
}

impl Relay<'_> {
    /// Makes the connection active to which a request belongs, and answers what belongs to none.
    pub(super) async fn choose_node(&mut self, request: &[u8], argv: &[&[u8]]) -> Chosen {
        if !self.topology().is_cluster() || self.listens || self.streams {
            return match self.open_engine().await {
                Ok(()) => Chosen::Node(Redirected::PassOn),
                Err(error) => {
                    self.reply_error(&error);
                    Chosen::Answered
                }
            };
        }
        let reach = match (reach(argv), self.in_multi) {
            // The engine says why there is no `MULTI` in `MULTI`, and what the rest would do on its node
            // alone, nobody expects.
            (Reach::Multi, true) => Reach::OneNode,
            (Reach::EveryNode | Reach::Scan, true) => Reach::Nowhere(NOT_IN_MULTI),
            (reach, _) => reach,
        };
        if !matches!(reach, Reach::OneNode) && self.is_owed() {
            return Chosen::Later;
        }
        match reach {
            Reach::OneNode => {}
            Reach::Multi => {
                self.output.extend_from_slice(b"+OK\r\n");
                self.in_multi = true;
                self.cluster.multi_waits = true;
                return Chosen::Answered;
            }
            Reach::EveryNode => {
                self.on_every_node(argv).await;
                return Chosen::Answered;
            }
            Reach::Scan => {
                self.scan(argv).await;
                return Chosen::Answered;
            }
            Reach::Nowhere(error) if self.in_multi => {
                if let Err(error) = self.open_engine().await {
                    self.reply_error(&error);
                } else {
                    self.abort_multi(error);
                }
                return Chosen::Answered;
            }
            Reach::Nowhere(error) => {
                self.reply_error(error);
                return Chosen::Answered;
            }
        }
        let is = |name: &str| argv[0].eq_ignore_ascii_case(name.as_bytes());
        let watches = is("WATCH");
        let stays = self.in_multi || watches || is("UNWATCH") || is("EXEC") || is("DISCARD");
        let pin = self.cluster.pin.clone().filter(|_| stays);
        let is_pinned = pin.is_some();
        let target = match (pin, first_key(argv), self.nodes.home()) {
            (Some(pin), ..) => Ok(pin),
            (None, None, Some(home)) => Ok(home.clone()),
            (None, key, _) => {
                let slot = key.and_then(|key| self.topology().slot_of(key));
                self.topology().server(slot, &self.account).await
            }
        };
        let is_active =
            |target: &Address| self.nodes.active().map(|node| &node.address) == Some(target);
        match target {
            Ok(target) if is_active(&target) => {}
            _ if self.is_owed() => return Chosen::Later,
            Ok(target) => {
                if !self.nodes.activate(&target)
                    && let Err(error) = self.open_node(target).await
                {
                    self.reply_error(&error);
                    return Chosen::Answered;
                }
            }
            Err(error) => {
                self.reply_error(&error.reply());
                return Chosen::Answered;
            }
        }
        self.cluster.subscribes |= is("SUBSCRIBE") || is("PSUBSCRIBE") || is("SSUBSCRIBE");
        self.cluster.quits |= is("QUIT");
        Chosen::Node(match self.in_multi || (watches && is_pinned) {
            true => Redirected::Replace,
            false => Redirected::Follow(request.to_vec(), 0),
        })
    }

    /// Begins a transaction on the node that its first command has chosen.
    pub(super) fn begin_multi(&mut self) {
        if !self.in_multi {
            return;
        }
        if let Some(pin) = &self.cluster.pin {
            self.nodes.activate(pin);
        }
        if std::mem::take(&mut self.cluster.multi_waits) {
            self.cluster.pin = self.nodes.active().map(|node| node.address.clone());
            self.send_own(&encoded([&b"MULTI"[..]]), Expected::Instead(Vec::new()));
        }
    }

    /// Returns the account with which the client uses the engine.
    fn engine_account(&self) -> &Account {
        match self.settings.shares_account {
            true => &self.settings.upstream.pool_options().location.account,
            false => &self.account,
        }
    }

    /// Goes through the keys of all nodes, one after the other.
    async fn scan(&mut self, argv: &[&[u8]]) {
        let (upstream, account) = (&self.settings.upstream, self.engine_account());
        let scanned = upstream.scan(account, self.database, argv).await;
        let mut reply = Encoder::new(self.protocol);
        match scanned {
            Ok((cursor, keys)) => {
                reply.array(2);
                reply.bulk(cursor.to_string().as_bytes());
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
            Err(error) => reply.error(error.reply()),
        }
        self.output.extend_from_slice(reply.bytes());
    }

    /// Runs a command on every node, and answers with all replies as one.
    async fn on_every_node(&mut self, argv: &[&[u8]]) {
        let (upstream, account) = (&self.settings.upstream, self.engine_account());
        let gathered = upstream
            .on_every_primary(account, self.database, argv)
            .await;
        let mut reply = Encoder::new(self.protocol);
        match gathered {
            Ok(Gathered::Sum(sum)) => reply.int(sum),
            Ok(Gathered::List(list)) => {
                reply.array(list.len());
                list.iter().for_each(|text| reply.bulk(text));
            }
            Ok(Gathered::Status(status)) => reply.simple(status),
            Ok(Gathered::Text(text)) => reply.bulk(&text),
            Err(error) => reply.error(error.reply()),
        }
        self.output.extend_from_slice(reply.bytes());
    }

    /// Passes a reply on, or holds it back behind one that is still to come.
    pub(super) fn pass_on(&mut self, frame: &[u8]) {
        let ClusterState { held, follows, .. } = &mut self.cluster;
        if held.is_empty() || *follows {
            self.output.extend_from_slice(frame);
            return;
        }
        match held.back_mut() {
            Some(Held::Reply(reply)) => reply.extend_from_slice(frame),
            _ => held.push_back(Held::Reply(frame.to_vec())),
        }
    }

    /// Takes up an error that may name another node.
    pub(super) fn redirect(&mut self, owed: Owed, error: &[u8]) {
        let Owed {
            expected,
            redirected,
        } = owed;
        let from = self.nodes.active().map(|node| node.address.clone());
        let text = std::str::from_utf8(error.strip_prefix(b"-").unwrap_or(error));
        let redirection = match (text, &from) {
            (Ok(text), Some(from)) => Redirection::read(text.trim_end(), from),
            _ => None,
        };
        if let Some(redirection) = &redirection {
            self.topology().redirected(redirection);
        }
        match (redirection, redirected) {
            (Some(named), Redirected::Follow(request, redirections))
                if redirections < REDIRECTIONS_MAX =>
            {
                let (to, asks) = match named {
                    Redirection::Moved { to, .. } => (to, false),
                    Redirection::Ask { to } => (to, true),
                };
                let again = Held::Again {
                    request,
                    redirections: redirections + 1,
                    expected,
                    to,
                    asks,
                };
                match self.cluster.follows {
                    true => self.cluster.held.push_front(again),
                    false => self.cluster.held.push_back(again),
                }
            }
            (Some(_), Redirected::Replace) => {
                let mut reply = Encoder::new(self.protocol);
                reply.error(NOT_HERE);
                self.pass_on(reply.bytes());
                self.answered(expected, reply.bytes());
            }
            (_, redirected) => {
                self.pass_on(error);
                self.cluster.release(&redirected);
                self.answered(expected, error);
            }
        }
    }

    /// Sends the oldest request again whose reply named another node, once all before it are answered.
    pub(super) async fn follow(&mut self) {
        while self.expected.is_empty() {
            match self.cluster.held.pop_front() {
                None => {
                    self.cluster.follows = false;
                    return;
                }
                Some(Held::Reply(reply)) => self.output.extend_from_slice(&reply),
                Some(Held::Again {
                    request,
                    redirections,
                    expected,
                    to,
                    asks,
                }) => {
                    if !self.nodes.activate(&to)
                        && let Err(error) = self.open_node(to).await
                    {
                        self.reply_error(&error);
                        self.cluster
                            .release(&Redirected::Follow(request, redirections));
                        continue;
                    }
                    if asks {
                        self.send_own(&encoded([&b"ASKING"[..]]), Expected::Instead(Vec::new()));
                    }
                    if let Some(node) = self.nodes.active_mut() {
                        node.connection.push(&request);
                    }
                    self.expected.push_back(Owed {
                        expected,
                        redirected: Redirected::Follow(request, redirections),
                    });
                    self.cluster.follows = true;
                }
            }
        }
    }

    /// Aborts a transaction with this error.
    pub(super) fn abort_multi(&mut self, error: &str) {
        self.begin_multi();
        let mut reply = Encoder::new(self.protocol);
        reply.error(error);
        self.send_own(UNKNOWN_COMMAND, Expected::Instead(reply.take()));
    }
}

/// The nodes that a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    OneNode,
    EveryNode,
    /// `SCAN`, which goes through one node after the other.
    Scan,
    /// `MULTI`, whose node the next command tells.
    Multi,
    /// It cannot be passed on, for this reason.
    Nowhere(&'static str),
}

fn reach(argv: &[&[u8]]) -> Reach {
    let word = |index: usize| {
        let word = argv.get(index).copied().unwrap_or_default();
        word.to_ascii_uppercase()
    };
    let (name, first) = match argv[0].len() {
        4..=8 => (word(0), word(1)),
        _ => return Reach::OneNode,
    };
    match (name.as_slice(), first.as_slice()) {
        (b"MULTI", b"") => Reach::Multi,
        (b"SCAN", _) => Reach::Scan,
        (b"FLUSHALL" | b"FLUSHDB" | b"DBSIZE" | b"KEYS", _)
        | (b"SCRIPT", b"LOAD" | b"FLUSH")
        | (b"FUNCTION", b"LOAD" | b"DELETE" | b"FLUSH" | b"RESTORE") => Reach::EveryNode,
        (b"CLUSTER", b"SLOTS" | b"SHARDS" | b"NODES") => Reach::Nowhere(
            "ERR this server is one address for all nodes of the cluster; connect to it with a client that is not in cluster mode, or to a node",
        ),
        (b"CLIENT", b"REPLY") if word(2) != b"ON" => Reach::Nowhere(
            "ERR CLIENT REPLY OFF and SKIP do not work through this server with a cluster",
        ),
        (b"CLIENT", b"TRACKING") if word(2) != b"OFF" => Reach::Nowhere(
            "ERR CLIENT TRACKING does not work through this server with a cluster: each node would have to be tracked",
        ),
        _ => Reach::OneNode,
    }
}
