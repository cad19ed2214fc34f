//! Queues of calls at keys over which calls of this server conflict.
//!
//! Calls run side by side until a commit is refused. Then those on the same keys form a queue, which
//! lasts as long as there are calls in it: a key that many calls write is then written by one after the
//! other, instead of refused to all but one.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The queues, by key.
#[derive(Debug, Default)]
pub(super) struct Queues {
    by_key: Mutex<HashMap<Box<[u8]>, Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    turn: Arc<AsyncMutex<()>>,
    /// Calls that are in the queue or have their turn.
    calls: usize,
}

/// The turns of one call. Dropped, they pass to the next calls.
#[derive(Debug, Default)]
pub(super) struct Turns<'q> {
    held: Vec<Turn<'q>>,
}

#[derive(Debug)]
struct Turn<'q> {
    queues: &'q Queues,
    key: Box<[u8]>,
    /// `None` while the call waits.
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut by_key = self.queues.by_key.lock();
        if let Some(queue) = by_key.get_mut(&self.key) {
            queue.calls -= 1;
            if queue.calls == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

impl Turns<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Queues {
    /// Waits for the call's turn at those of these keys that have a queue, or at each of them if `all`.
    pub(super) async fn wait<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
        all: bool,
    ) -> Turns<'_> {
        let mut turns = Turns::default();
        if !all && self.by_key.lock().is_empty() {
            return turns;
        }
        // In one order for all calls, so that none waits for another that waits for it.
        let mut keys: Vec<&[u8]> = keys.collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let turn = {
                let mut by_key = self.by_key.lock();
                if !all && !by_key.contains_key(key) {
                    continue;
                }
                let queue = by_key.entry(key.into()).or_default();
                queue.calls += 1;
                Arc::clone(&queue.turn)
            };
            turns.held.push(Turn {
                queues: self,
                key: key.into(),
                guard: None,
            });
            let guard = turn.lock_owned().await;
            if let Some(last) = turns.held.last_mut() {
                last.guard = Some(guard);
            }
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::Queues;

    fn keys(keys: &[&'static str]) -> impl Iterator<Item = &'static [u8]> {
        keys.iter()
            .map(|key| key.as_bytes())
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn a_queue_forms_and_dissolves() {
        let queues = Queues::default();
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(none) = pin!(queues.wait(keys(&["a"]), false)).poll(&mut context) else {
            panic!("nobody waits yet")
        };
        assert!(none.is_empty());
        let Poll::Ready(first) = pin!(queues.wait(keys(&["b", "a"]), true)).poll(&mut context)
        else {
            panic!("nobody is before it")
        };
        let mut second = Box::pin(queues.wait(keys(&["a", "c"]), false));
        assert!(second.as_mut().poll(&mut context).is_pending());
        let mut third = Box::pin(queues.wait(keys(&["a"]), false));
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(first);
        let Poll::Ready(turn) = second.as_mut().poll(&mut context) else {
            panic!("it is its turn")
        };
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(turn);
        drop(second);
        // One that goes away leaves nothing behind.
        drop(third);
        assert!(queues.by_key.lock().is_empty());
    }
}
