//! The requests of a client: which are answered here, and which are passed on.

use std::sync::atomic::Ordering;

use ferrite_protocol::resp::{Protocol, RequestScanner, Scan};
use ferrite_runtime::commands::{self, Spec};
use ferrite_upstream::{Address, EngineStream, Topology};
use smallvec::SmallVec;

use super::cluster::Chosen;
use super::engine::EngineConnection;
use super::expected::{self, Expected, Replies};
use super::own_requests::encoded;
use super::{Admission, Owed, Relay, Silence, Step};
use crate::connection::close_reason::CloseReason;

/// Bytes of requests that wait to be sent to the engine before more are read.
const PENDING_BYTES_MAX: usize = 256 * 1024;

/// Replies that the engine may owe before more requests are read.
const EXPECTED_MAX: usize = 16 * 1024;

impl<'a> Relay<'a> {
    /// Takes up the next request, if it has arrived and may be.
    pub(super) async fn step(&mut self, scanner: &mut RequestScanner) -> Result<Step, CloseReason> {
        let settles = self.settles && !self.expected.is_empty();
        if settles
            || self.cluster.is_full()
            || self.nodes.pending_bytes() > PENDING_BYTES_MAX
            || self.expected.len() > EXPECTED_MAX
        {
            return Ok(Step::Replies);
        }
        let consumed = match scanner.scan(&self.input[self.used..]) {
            Ok(Scan::Complete { consumed }) => consumed,
            Ok(Scan::Incomplete { .. }) => return Ok(Step::Input),
            Err(error) => {
                if !self.expected.is_empty() {
                    return Ok(Step::Replies);
                }
                self.state.stats.protocol_errors.add(1);
                self.reply_error(&format!("ERR {error}"));
                return Ok(Step::End(CloseReason::ProtocolError));
            }
        };
        let input = std::mem::take(&mut self.input);
        let request = &input[self.used..self.used + consumed];
        let argv: SmallVec<[&[u8]; 16]> = scanner.arguments(request).collect();
        let step = match argv.first() {
            None => Ok(Step::More),
            Some(name) => match self.local(name, &argv) {
                _ if self.streams => self.forward(request, &argv).await,
                Some(spec) => self.answer(spec, &argv).await,
                None => self.forward(request, &argv).await,
            },
        };
        drop(argv);
        self.input = input;
        // A request that has to wait for replies is taken up again.
        if !matches!(step, Ok(Step::Replies)) {
            self.used += consumed;
        }
        step
    }

    /// Returns the row of a command that is answered here.
    fn local(&self, name: &[u8], argv: &[&[u8]]) -> Option<&'static Spec> {
        let spec = commands::find(name)?;
        if spec.name.starts_with("WASM.") {
            return Some(spec);
        }
        // `FCALL` of a function that is not ours is the engine's.
        let function = argv.get(1)?;
        let function = function.split(|&byte| byte == b'.').next()?;
        let functions = self.state.functions.as_ref()?;
        functions.function(function).is_ok().then_some(spec)
    }

    /// Sends a request on to the engine.
    async fn forward(&mut self, request: &[u8], argv: &[&[u8]]) -> Result<Step, CloseReason> {
        let redirected = match self.choose_node(request, argv).await {
            Chosen::Node(redirected) => redirected,
            Chosen::Later => return Ok(Step::Replies),
            Chosen::Answered => {
                self.note_request(argv);
                return Ok(Step::More);
            }
        };
        let replies = match self.listens {
            // Its replies are told from messages by nothing, but nothing waits for them either.
            true => Replies::Several(0),
            false => expected::replies(argv, self.protocol),
        };
        // Whether the client may use the engine can only be asked while there are replies.
        if matches!(replies, Replies::Off | Replies::Skip)
            && matches!(self.admission, Admission::Unknown)
        {
            self.ask_admission();
            return Ok(Step::Replies);
        }
        // Replies to earlier requests must be told from what follows.
        if matches!(replies, Replies::Listens | Replies::Stream) && !self.expected.is_empty() {
            return Ok(Step::Replies);
        }
        self.note_request(argv);
        self.begin_multi();
        if let Some(node) = self.nodes.active_mut() {
            node.connection.push(request);
        }
        match replies {
            Replies::One(Expected::RepliesOn) => {
                self.silence = Silence::None;
                self.owe(Expected::RepliesOn);
            }
            Replies::One(_) | Replies::Several(_) if self.silence == Silence::All => {}
            Replies::One(_) | Replies::Several(_) if self.silence == Silence::Next => {
                self.silence = Silence::None;
            }
            Replies::One(expected) => {
                self.cluster.keep(&redirected);
                self.expected.push_back(Owed {
                    expected,
                    redirected,
                });
            }
            Replies::Several(count) => (0..count).for_each(|_| self.owe(Expected::Nothing)),
            Replies::Listens => self.listens = true,
            Replies::Stream => self.streams = true,
            Replies::Off => self.silence = Silence::All,
            Replies::Skip => self.silence = Silence::Next,
        }
        // What these change decides how the next request is read.
        self.settles = match self.expected.back().map(|owed| &owed.expected) {
            Some(Expected::Hello(..) | Expected::Reset) => true,
            // So do these where there are several nodes.
            Some(
                Expected::Account(_)
                | Expected::Database(_)
                | Expected::Watch
                | Expected::Unwatch
                | Expected::EndMulti,
            ) => self.topology().is_cluster(),
            _ => false,
        };
        Ok(Step::More)
    }

    pub(super) fn topology(&self) -> &'a Topology {
        self.settings.upstream.topology()
    }

    /// Opens a connection to the engine, if none is open.
    pub(super) async fn open_engine(&mut self) -> Result<(), String> {
        if !self.nodes.is_empty() {
            return Ok(());
        }
        let server = self.topology().server(None, &self.account).await;
        let address = server.map_err(|error| error.reply())?;
        self.open_node(address).await
    }

    /// Opens a connection to a server, which becomes the active one, in the state of the client.
    pub(super) async fn open_node(&mut self, address: Address) -> Result<(), String> {
        let pool = self.settings.upstream.pool_options();
        let location = &pool.location;
        let tls = pool.tls.as_ref().filter(|_| location.tls);
        let stream = EngineStream::connect(&address, tls, pool.connect_time_max)
            .await
            .map_err(|error| {
                self.topology().suspect();
                format!("STORE the engine at {address} cannot be reached: {error}; try again later")
            })?;
        let is_first = self.nodes.is_empty();
        self.nodes.add(address, EngineConnection::new(stream));
        if self.settings.shares_account {
            self.account = location.account.clone();
        }
        if (self.settings.shares_account || !is_first)
            && let Some(words) = self.account.auth()
        {
            let login = encoded(words.iter().map(|word| word.as_bytes()));
            self.send_own(&login, Expected::Login);
        }
        if !is_first {
            if self.protocol == Protocol::Resp3 {
                let hello = encoded([&b"HELLO"[..], b"3"]);
                self.send_own(&hello, Expected::Instead(Vec::new()));
            }
            if self.database != 0 {
                let database = self.database.to_string();
                let select = encoded([&b"SELECT"[..], database.as_bytes()]);
                self.send_own(&select, Expected::Instead(Vec::new()));
            }
        }
        Ok(())
    }

    pub(super) fn note_request(&self, argv: &[&[u8]]) {
        if let Some(name) = argv.first() {
            self.client.activity.set_command(name);
        }
        self.client
            .activity
            .requests
            .fetch_add(1, Ordering::Relaxed);
        self.state.stats.requests.add(1);
    }
}
