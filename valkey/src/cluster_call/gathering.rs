//! A call on all nodes, on the node that was asked: the replies so far, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::CallError;
use ferrite_runtime::commands::{
    MissingNode, error_of_node, error_of_reply, reply_as_argument, write_partial, write_replies,
};

use crate::cluster_call::message::REPLY_BYTES_MAX;
use crate::cluster_call::primaries::{Primary, Topology};

/// Most bytes of the replies of all nodes together.
const TOTAL_BYTES_MAX: usize = 16 << 20;

/// Set by whoever wants a call to end early.
#[derive(Debug, Default)]
pub(crate) struct StopFlags {
    /// By `WASM.KILL`.
    pub(crate) killed: AtomicBool,
    /// Because the client went away.
    pub(crate) abandoned: AtomicBool,
}

/// What a client asked for.
pub(crate) struct Asked {
    pub(crate) function: Vec<u8>,
    pub(crate) args: Vec<Vec<u8>>,
    /// Function and entry that get the replies.
    pub(crate) reduce: Option<Vec<u8>>,
    pub(crate) partial: bool,
    pub(crate) database: u32,
    /// The client's protocol.
    pub(crate) protocol: Protocol,
    /// The client's user; `None` for the server itself.
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) began: Instant,
    /// Time that all parts together may take.
    pub(crate) time_max: Duration,
}

/// The state of a node.
pub(crate) enum NodeState {
    /// Its reply is not there yet. `sent` is when it was asked last; `None` if it was not.
    Waiting { sent: Option<Instant> },
    /// Its reply, and the reason why it cannot be relied on, if there is one.
    Replied {
        reply: Vec<u8>,
        doubt: Option<String>,
    },
    /// The text of its error.
    Failed(String),
}

/// A node that takes part.
pub(crate) struct Node {
    pub(crate) primary: Primary,
    pub(crate) state: NodeState,
}

/// A call on all nodes.
pub(crate) struct Gathering {
    pub(crate) id: u64,
    pub(crate) asked: Asked,
    pub(crate) nodes: Vec<Node>,
    /// Slots that no node has, as an error, if there are any.
    uncovered: Option<MissingNode>,
    pub(crate) stop: Arc<StopFlags>,
    /// True once the replies were given to the entry that gets them.
    pub(crate) is_reducing: bool,
    bytes: usize,
}

/// What is to be done once no node is waited for.
pub(crate) enum Next {
    /// Reply this.
    Reply(Vec<u8>),
    /// Call the entry with these arguments.
    Reduce {
        function: Vec<u8>,
        args: Vec<Vec<u8>>,
    },
}

impl Gathering {
    pub(crate) fn new(id: u64, asked: Asked, topology: Topology, stop: Arc<StopFlags>) -> Self {
        let Topology {
            primaries,
            slots_missing,
        } = topology;
        let nodes = primaries
            .into_iter()
            .map(|primary| Node {
                state: match primary.has_failed {
                    true => NodeState::Failed(gone(&primary)),
                    false => NodeState::Waiting { sent: None },
                },
                primary,
            })
            .collect();
        let uncovered = (slots_missing > 0).then(|| MissingNode {
            node: String::new(),
            reason: format!(
                "CLUSTERDOWN {slots_missing} slots are served by no node; add PARTIAL for the reply of the others"
            ),
        });
        Self {
            id,
            asked,
            nodes,
            uncovered,
            stop,
            is_reducing: false,
            bytes: 0,
        }
    }

    /// Protocol of the nodes' replies.
    pub(crate) fn map_protocol(&self) -> Protocol {
        match self.asked.reduce {
            Some(_) => Protocol::Resp2,
            None => self.asked.protocol,
        }
    }

    /// Time that is left, at least a millisecond.
    pub(crate) fn time_left(&self) -> Duration {
        let left = self
            .asked
            .time_max
            .saturating_sub(self.asked.began.elapsed());
        left.max(Duration::from_millis(1))
    }

    /// Takes the reply of a node. What comes from a node that is not waited for is ignored.
    pub(crate) fn take_reply(&mut self, node: &str, slots_held: bool, reply: Vec<u8>) {
        let (bytes, used) = (reply.len(), self.bytes);
        let Some(node) = self.nodes.iter_mut().find(|one| one.primary.id == node) else {
            return;
        };
        if !matches!(node.state, NodeState::Waiting { .. }) {
            return;
        }
        let label = label(&node.primary);
        node.state = if let Some(error) = error_of_reply(&reply) {
            NodeState::Failed(error_of_node(&label, error))
        } else if bytes > REPLY_BYTES_MAX {
            NodeState::Failed(format!(
                "LIMIT node {label}: the reply has {bytes} bytes, the limit of one node's reply is {REPLY_BYTES_MAX}; reply less"
            ))
        } else if used + bytes > TOTAL_BYTES_MAX {
            NodeState::Failed(format!(
                "LIMIT node {label}: the replies of all nodes have more than {TOTAL_BYTES_MAX} bytes together; reply less"
            ))
        } else {
            self.bytes += bytes;
            let doubt = (!slots_held).then(|| {
                format!(
                    "TRYAGAIN node {label}: slots moved while the call ran, so keys may be missing or be counted twice; call again, or take that with PARTIAL"
                )
            });
            NodeState::Replied { reply, doubt }
        };
    }

    /// Notes which of the nodes that are waited for have left or failed.
    pub(crate) fn check_nodes(&mut self, topology: &Topology) {
        for node in &mut self.nodes {
            let id = &node.primary.id;
            let alive = topology
                .primaries
                .iter()
                .any(|now| now.id == *id && !now.has_failed);
            if matches!(node.state, NodeState::Waiting { .. }) && !alive {
                node.state = NodeState::Failed(gone(&node.primary));
            }
        }
    }

    /// Stops waiting once the time is up.
    pub(crate) fn check_time(&mut self) {
        if self.asked.began.elapsed() < self.asked.time_max {
            return;
        }
        let millis = self.asked.time_max.as_millis();
        for node in &mut self.nodes {
            if matches!(node.state, NodeState::Waiting { .. }) {
                let label = label(&node.primary);
                node.state = NodeState::Failed(format!(
                    "TIMEOUT node {label}: no reply within {millis} ms; raise TIMEOUT or max_time, or do less in one call"
                ));
            }
        }
    }

    /// Returns the reply of a call that is to end early.
    pub(crate) fn stopped(&self) -> Option<Vec<u8>> {
        if self.stop.abandoned.load(Ordering::Relaxed) {
            return Some(Vec::new());
        }
        self.stop
            .killed
            .load(Ordering::Relaxed)
            .then(|| error(&CallError::killed().to_string()))
    }

    /// Returns what is to be done if no node needs to be waited for any more.
    pub(crate) fn next(&mut self) -> Option<Next> {
        if self.is_reducing {
            return None;
        }
        let waits = |node: &Node| matches!(node.state, NodeState::Waiting { .. });
        let missing = self.missing();
        let failed = self
            .nodes
            .iter()
            .any(|node| matches!(node.state, NodeState::Failed(_)));
        let must_fail = !self.asked.partial && (failed || self.uncovered.is_some());
        if !must_fail && self.nodes.iter().any(waits) {
            return None;
        }
        if !self.asked.partial && !missing.is_empty() {
            return Some(Next::Reply(error(&all_of(&missing))));
        }
        let replies: Vec<(&str, &[u8])> = self
            .nodes
            .iter()
            .filter_map(|node| match &node.state {
                NodeState::Replied { reply, .. } => Some((&*node.primary.id, &**reply)),
                NodeState::Waiting { .. } | NodeState::Failed(_) => None,
            })
            .collect();
        if replies.is_empty() {
            return Some(Next::Reply(error(&all_of(&missing))));
        }
        if let Some(function) = &self.asked.reduce {
            let args = replies
                .iter()
                .map(|(_, reply)| reply_as_argument(reply))
                .collect();
            return Some(Next::Reduce {
                function: function.clone(),
                args,
            });
        }
        let mut whole = Encoder::new(self.asked.protocol);
        write_replies(replies.into_iter(), &mut whole);
        Some(Next::Reply(self.finished(whole.take())))
    }

    /// Returns the client's reply, given what was made of the nodes' replies.
    pub(crate) fn finished(&self, whole: Vec<u8>) -> Vec<u8> {
        if !self.asked.partial || error_of_reply(&whole).is_some() || whole.is_empty() {
            return whole;
        }
        let mut reply = Encoder::new(self.asked.protocol);
        write_partial(&whole, &self.missing(), &mut reply);
        reply.take()
    }

    /// Returns the nodes without a reply that can be relied on.
    fn missing(&self) -> Vec<MissingNode> {
        let nodes = self.nodes.iter().filter_map(|node| {
            let reason = match &node.state {
                NodeState::Failed(reason) => reason,
                NodeState::Replied { doubt, .. } => doubt.as_ref()?,
                NodeState::Waiting { .. } => return None,
            };
            Some(MissingNode {
                node: node.primary.id.clone(),
                reason: reason.clone(),
            })
        });
        self.uncovered.iter().cloned().chain(nodes).collect()
    }
}

/// Returns an error reply.
pub(crate) fn error(text: &str) -> Vec<u8> {
    let mut reply = Encoder::default();
    reply.error(text);
    reply.take()
}

/// Returns one error for several: the first, and the nodes of the others.
fn all_of(missing: &[MissingNode]) -> String {
    let Some((first, others)) = missing.split_first() else {
        return "CLUSTERDOWN no node has slots".to_owned();
    };
    let mut text = first.reason.clone();
    for (index, other) in others.iter().enumerate() {
        text += if index == 0 { "; also of: " } else { ", " };
        text += &other.node;
    }
    text
}

fn gone(primary: &Primary) -> String {
    format!(
        "CLUSTERDOWN node {}: it has failed or left; call again once its slots have another node, or add PARTIAL for the reply of the others",
        label(primary)
    )
}

/// A node as errors name it.
fn label(primary: &Primary) -> String {
    if primary.address.is_empty() {
        primary.id.clone()
    } else {
        format!("{} ({})", primary.id, primary.address)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use ferrite_protocol::resp::Protocol;

    use super::{Asked, Gathering, Next, REPLY_BYTES_MAX, StopFlags};
    use crate::cluster_call::primaries::{Primary, Topology};

    fn topology(failed: &[&str], slots_missing: usize) -> Topology {
        let primary = |id: &&str| Primary {
            id: (*id).to_owned(),
            address: String::new(),
            slots: String::new(),
            is_self: false,
            has_failed: failed.contains(id),
            moves_slots: false,
        };
        Topology {
            primaries: ["a", "b", "c"].iter().map(primary).collect(),
            slots_missing,
        }
    }

    fn gathering(partial: bool, reduce: bool, topology: Topology) -> Gathering {
        let asked = Asked {
            function: b"f".to_vec(),
            args: Vec::new(),
            reduce: reduce.then(|| b"f.sum".to_vec()),
            partial,
            database: 0,
            protocol: Protocol::Resp2,
            user: None,
            began: Instant::now(),
            time_max: Duration::from_secs(600),
        };
        Gathering::new(1, asked, topology, Arc::new(StopFlags::default()))
    }

    fn replied(gathering: &mut Gathering) -> Option<String> {
        match gathering.next()? {
            Next::Reply(reply) => Some(String::from_utf8(reply).expect("text")),
            Next::Reduce { function, args } => Some(format!(
                "{} {}",
                String::from_utf8_lossy(&function),
                String::from_utf8_lossy(&args.join(&b' '))
            )),
        }
    }

    #[test]
    fn all_replies_are_waited_for() {
        let mut all = gathering(false, true, topology(&[], 0));
        for node in ["b", "a"] {
            all.take_reply(node, true, b":1\r\n".to_vec());
            assert!(replied(&mut all).is_none());
        }
        all.take_reply("x", true, b":5\r\n".to_vec());
        all.take_reply("a", true, b":5\r\n".to_vec());
        assert!(
            replied(&mut all).is_none(),
            "only the first reply of a node counts"
        );
        all.take_reply("c", true, b"$1\r\n3\r\n".to_vec());
        assert_eq!(replied(&mut all).as_deref(), Some("f.sum 1 1 3"));
    }

    #[test]
    fn the_first_failure_ends_a_call_and_names_its_node() {
        for (reply, text) in [
            (b"-TRAP no\r\n".to_vec(), "-TRAP node b: no\r\n"),
            (
                vec![b'x'; REPLY_BYTES_MAX + 1],
                "-LIMIT node b: the reply has",
            ),
        ] {
            let mut all = gathering(false, false, topology(&[], 0));
            all.take_reply("b", true, reply);
            let error = replied(&mut all).expect("an end");
            assert!(error.starts_with(text), "{error}");
        }
        let mut failed = gathering(false, false, topology(&["a", "c"], 0));
        let error = replied(&mut failed).expect("an end");
        assert!(error.starts_with("-CLUSTERDOWN node a:") && error.ends_with("also of: c\r\n"));
        let mut uncovered = gathering(false, false, topology(&[], 7));
        let error = replied(&mut uncovered).expect("an end");
        assert!(error.starts_with("-CLUSTERDOWN 7 slots"), "{error}");
        let mut moved = gathering(false, false, topology(&[], 0));
        for node in ["a", "b", "c"] {
            moved.take_reply(node, node != "b", b":1\r\n".to_vec());
        }
        let error = replied(&mut moved).expect("an end");
        assert!(
            error.starts_with("-TRYAGAIN node b: slots moved"),
            "{error}"
        );
    }

    #[test]
    fn partial_replies_say_what_is_missing() {
        let mut some = gathering(true, false, topology(&["a"], 0));
        some.take_reply("b", true, b"-TRAP no\r\n".to_vec());
        assert!(replied(&mut some).is_none(), "c is waited for");
        some.take_reply("c", true, b":1\r\n".to_vec());
        let reply = replied(&mut some).expect("an end");
        assert!(
            reply.starts_with("*2\r\n*1\r\n*2\r\n$1\r\nc\r\n:1\r\n*2\r\n*2\r\n$1\r\na\r\n"),
            "{reply}"
        );
        let mut none = gathering(true, false, topology(&["a", "b", "c"], 0));
        let error = replied(&mut none).expect("an end");
        assert!(error.starts_with("-CLUSTERDOWN node a:"), "{error}");
    }

    #[test]
    fn time_and_departures_end_the_waiting() {
        let mut late = gathering(true, true, topology(&[], 0));
        late.take_reply("a", true, b":1\r\n".to_vec());
        late.check_nodes(&topology(&["b"], 0));
        assert!(replied(&mut late).is_none(), "c is waited for");
        late.asked.time_max = Duration::ZERO;
        late.check_time();
        assert_eq!(replied(&mut late).as_deref(), Some("f.sum 1"));
        let reply = String::from_utf8(late.finished(b":1\r\n".to_vec())).expect("text");
        assert!(reply.contains("CLUSTERDOWN node b") && reply.contains("TIMEOUT node c"));
        assert_eq!(late.finished(b"-TRAP no\r\n".to_vec()), b"-TRAP no\r\n");
        assert_eq!(late.stopped(), None);
        late.stop.killed.store(true, Ordering::Relaxed);
        assert!(
            late.stopped()
                .is_some_and(|reply| reply.starts_with(b"-KILLED "))
        );
    }
}
