//! The writes of a call: commands on its data, and requests to other servers that are sent after its commit.

use ferrite_protocol::events::{PARTITIONS, in_partition};
use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::record::Record;
use ferrite_runtime::Runtime;
use ferrite_store::{Store, Words};

use crate::request_state::place::Queue;

/// Everything that a call commits.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) commands: Vec<Words>,
    /// Records of requests that are sent afterwards.
    requests: Vec<Record>,
    /// True if the requests are committed to the engine.
    commits_requests: bool,
}

/// The command that adds a call's requests to those of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddRequests {
    pub(super) words: Words,
    /// The database of the call; the requests are in the first one.
    pub(super) database: u32,
}

impl AddRequests {
    pub(super) fn key(&self) -> &[u8] {
        &self.words[1]
    }

    /// Returns the names of the requests.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.words[2..].iter().step_by(2).map(Vec::as_slice)
    }
}

impl Writes {
    pub(super) const fn new(
        commands: Vec<Words>,
        requests: Vec<Record>,
        commits_requests: bool,
    ) -> Self {
        Self {
            commands,
            requests,
            commits_requests,
        }
    }

    /// Returns true if there is nothing to write to the engine.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && !self.adds_requests()
    }

    /// Returns true if there are requests to write to the engine.
    pub(super) fn adds_requests(&self) -> bool {
        self.commits_requests && !self.requests.is_empty()
    }

    /// Returns the command that adds the requests in this slot of a cluster, and names them by it; `None` if there
    /// are none.
    pub(super) fn add_requests(&mut self, slot: Option<u16>, database: u32) -> Option<AddRequests> {
        if !self.adds_requests() {
            return None;
        }
        let mut words = vec![b"HSET".to_vec(), Queue::Waiting.key(slot).into_bytes()];
        for (name, value) in &mut self.requests {
            // Without slots, it makes the numbers of several servers different in nearly all cases. In the others,
            // the commit is refused.
            let part = slot.unwrap_or_else(|| fastrand::u16(..PARTITIONS));
            *name = in_partition(name, part);
            words.push(name.to_vec());
            words.push(value.to_vec());
        }
        Some(AddRequests { words, database })
    }

    /// Lets the requests be sent, now that the call has committed.
    pub(super) fn send_later(self, runtime: &Runtime<Store>) {
        if self.commits_requests {
            for (name, value) in &self.requests {
                runtime.request_committed(name, value);
            }
        } else if !self.requests.is_empty() {
            let mut transaction = runtime.keyspace().begin(0, Mode::Write);
            for (name, value) in &self.requests {
                transaction.change_record(name, Some(&**value));
            }
            if let Err(error) = transaction.commit() {
                tracing::error!(%error, "requests of a call are not sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Writes;

    #[test]
    fn requests_are_added_in_the_slot_of_their_commit() {
        let name: Box<[u8]> = b"outbox/00000000deadc000"[..].into();
        let request = || vec![(name.clone(), b"r"[..].into())];
        let mut writes = Writes::new(Vec::new(), request(), true);
        assert!(!writes.is_empty());
        let add = writes.add_requests(Some(5), 3).expect("one");
        assert!(add.names().eq([b"outbox/00000000deadc005"]));
        assert!(add.key().starts_with(b"ferrite:requests:{"), "{add:?}");
        let add = writes.add_requests(None, 3).expect("one");
        assert_eq!(add.key(), b"ferrite:requests");
        let count = |name: &[u8]| name[..name.len() - 4].to_vec();
        assert!(add.names().map(count).eq([count(&name)]));

        let mut elsewhere = Writes::new(Vec::new(), request(), false);
        assert!(elsewhere.is_empty());
        assert_eq!(elsewhere.add_requests(None, 0), None);
    }
}
