//! Serves blocked clients after a commit.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::blocking::{Ready, Served, Wish};
use crate::execution::core::Core;
use crate::execution::direct::Direct;
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::View as _;
use crate::keyspace::shard::shard_of;
use crate::value::blob::Blob;
use crate::value::hashing::hash;

impl Core {
    /// Serves the clients that wait for these keys, and those that wait for keys that this fills.
    pub(crate) fn serve(&self, ready: Ready) {
        if ready.is_empty() || self.blocked.is_empty() {
            return;
        }
        let mut ready: VecDeque<_> = ready.into_iter().collect();
        while let Some((database, key)) = ready.pop_front() {
            self.serve_key(database, &key, &mut ready);
        }
    }

    fn serve_key(&self, database: u32, key: &Blob, ready: &mut VecDeque<(u32, Blob)>) {
        for waiter in self.blocked.waiting_for(database, key) {
            let mut shards: SmallVec<[usize; 8]> = SmallVec::from_slice(&[shard_of(hash(key))]);
            let mut keys = vec![key.as_slice()];
            if let Wish::Move { destination, .. } = &waiter.wait.wish {
                shards.push(shard_of(hash(destination)));
                keys.push(destination);
            }
            let mut direct = Direct::new(self, LockedShards::some(self, shards), database);
            if direct.any_reserved(keys.into_iter()) {
                self.deferred.lock().push((database, key.clone()));
                return;
            }
            if !waiter.wait.wish.can_take(&mut direct, key) {
                let there = matches!(direct.get(key), Ok(Some(_)));
                // The check may have removed an expired key.
                direct.finish();
                if there {
                    continue;
                }
                return;
            }
            // From here on, no other thread can serve this client.
            let Some(claim) = self.blocked.claim(&waiter) else {
                continue;
            };
            let served = match waiter.wait.wish.take(&mut direct, key) {
                Ok(served) => served,
                Err(error) => Some(Served::Error(error)),
            };
            let (command, argv) = waiter.wait.wish.as_request();
            direct.name_events(command, &argv);
            let finished = direct.finish();
            ready.extend(finished.ready);
            if let Some(served) = served {
                claim.serve(served, finished.receipt);
            }
        }
    }
}
