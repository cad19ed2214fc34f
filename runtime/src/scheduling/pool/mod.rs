//! A function's pool: bounds the calls that run at once, queues the others, and keeps idle items.
//!
//! The items depend on the isolation: whole instances if they serve many calls, else only the
//! buffers of past calls. The pool does not distinguish them. It hands out the item that the same
//! thread used last, because its memory is the warmest, and lets the others grow old.
//!
//! # Shards and permits
//!
//! A pool has `instances_max` permits, one for each call that may run. They lie in shards, each with
//! a lock of its own and the idle items that belong to its permits. A thread uses one shard: its
//! call takes a permit there and puts it back, under a lock that no other core takes and on memory
//! that no other core writes. If a shard has no permit, or a permit and no idle item, the call takes
//! from another shard.
//!
//! # Waiting
//!
//! If no shard has a permit, a call waits in the one queue and gets the permit of a call that ends.
//! Shards are searched one by one, so a permit could return to a shard that was already searched.
//! Therefore:
//!
//! - a call that is about to wait first sets `queued` and only then searches the shards;
//! - a call that returns its permit checks `queued` under the shard's lock, and if it is set gives
//!   the permit to the queue instead of the shard. Nor does a call start at a shard while it is set,
//!   so that no call overtakes those that wait.
//!
//! The second one to take a shard's lock sees what the first did: either the search finds the
//! permit, or the permit goes to the queue. So no shard has a permit while a call waits.
//!
//! The timer relies on items being put back under a shard's lock.

mod permits;
mod wait_queue;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::scheduling::moment::Moment;
use crate::scheduling::per_core::PerCore;
use crate::scheduling::pool::permits::{Permit, PermitShard};
use crate::scheduling::pool::wait_queue::{Queue, TicketState};
use crate::scheduling::timer::LOOKS;

/// Shortest time between two looks at idle items.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(1);

/// The size of a function's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Idle instances that never time out; they are made when the function loads.
    pub instances_min: usize,
    /// Calls of the function that may run at once, and idle instances that are kept.
    pub instances_max: usize,
    /// Calls that may wait for one of those to end; further calls are refused as busy.
    pub waiting_max: usize,
    /// Time that an instance beyond `instances_min` may be idle; it goes at most half of that time
    /// later.
    pub idle_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            instances_min: 0,
            instances_max: 64,
            waiting_max: 1024,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// The state of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Calls that run.
    pub running: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Items kept for the next calls.
    pub idle: usize,
    /// Calls that ever started, wrapping.
    pub started: u64,
}

/// Reason why a call did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnterError {
    /// The queue is full.
    Busy,
    /// All calls of the function were killed while this one waited.
    Cancelled,
}

/// A bounded pool of `T`; see the module's documentation.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    options: PoolOptions,
    shards: PerCore<Mutex<PermitShard<T>>>,
    /// True while calls wait. Changed only under the queue's lock.
    queued: AtomicBool,
    /// Locked before any shard, if both are locked.
    queue: Mutex<Queue<T>>,
}

impl<T> Pool<T> {
    /// Creates an empty pool. At least one call may run, whatever `options` say.
    #[must_use]
    pub(crate) fn new(mut options: PoolOptions) -> Self {
        let permits = options.instances_max.max(1);
        options.instances_max = permits;
        let share = |index, shards| permits / shards + usize::from(index < permits % shards);
        Self {
            options,
            shards: PerCore::new(permits, |index, shards| {
                Mutex::new(PermitShard::new(share(index, shards)))
            }),
            queued: AtomicBool::new(false),
            queue: Mutex::new(Queue::new()),
        }
    }

    /// Returns the pool's options.
    #[must_use]
    pub(crate) fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Starts a call if it need not wait; else returns `None`.
    #[inline]
    pub(crate) fn try_enter(&self) -> Option<PermitGuard<'_, T>> {
        let mut shard = self.shards.lock_local();
        // Waiting calls come first, or a busy function would never reach them.
        if self.queued.load(Ordering::Relaxed) {
            return None;
        }
        match shard.take() {
            Some(Permit { item: Some(item) }) => {
                let sequence = shard.start();
                Some(self.permit(sequence, Some(item)))
            }
            permit => {
                drop(shard);
                self.enter_elsewhere(permit)
            }
        }
    }

    /// Starts a call as soon as a permit is free; waiting calls are served in their order of arrival.
    ///
    /// # Errors
    ///
    /// [`EnterError`]. The future may be dropped at any time.
    pub(crate) async fn enter(&self) -> Result<PermitGuard<'_, T>, EnterError> {
        self.wait(self.options.waiting_max).await
    }

    /// Starts a call again that has given up its permit to wait for something else. It is not refused, however
    /// many calls wait.
    pub(crate) async fn enter_again(&self) -> Result<PermitGuard<'_, T>, EnterError> {
        self.wait(usize::MAX).await
    }

    async fn wait(&self, waiting_max: usize) -> Result<PermitGuard<'_, T>, EnterError> {
        if let Some(permit) = self.try_enter() {
            return Ok(permit);
        }
        let ticket = self.join_queue(waiting_max)?;
        let guard = TicketGuard { pool: self, ticket };
        let entered = poll_fn(|context| {
            let ticket_state = self.queue.lock().poll_ticket(ticket, context.waker());
            match ticket_state {
                TicketState::Granted(permit) => Poll::Ready(Ok(self.start(permit))),
                TicketState::Waiting => Poll::Pending,
                TicketState::Cancelled => Poll::Ready(Err(EnterError::Cancelled)),
            }
        })
        .await;
        drop(guard);
        entered
    }

    /// Refuses all waiting calls.
    pub(crate) fn cancel_waiting(&self) {
        let woken = {
            let mut queue = self.queue.lock();
            let woken = queue.clear();
            self.note_queued(&queue);
            woken
        };
        woken.for_each(Waker::wake);
    }

    /// Keeps an unused `item` for later calls. Returns it if every permit has an item or a running
    /// call.
    pub(crate) fn stock(&self, item: T) -> Option<T> {
        let mut item = item;
        for shard in self.shards.iter_from_local() {
            item = shard.lock().stock(item)?;
        }
        Some(item)
    }

    /// Removes the items that have been idle too long at `now`. Also returns when to look again;
    /// `None` if nothing is idle any more.
    ///
    /// The caller drops the items, since that may take a while.
    pub(crate) fn trim(&self, now: Moment) -> (Vec<T>, Option<Moment>) {
        let mut shards = self.lock_shards();
        for shard in &mut shards {
            shard.date(now);
        }
        let idle: usize = shards.iter().map(|shard| shard.idle()).sum();
        let spare = idle.saturating_sub(self.options.instances_min);
        let mut gone = Vec::new();
        while gone.len() < spare {
            let oldest = shards
                .iter_mut()
                .filter_map(|shard| Some((shard.oldest()?, shard)))
                .min_by_key(|(since, _)| *since);
            let Some((since, shard)) = oldest else {
                break;
            };
            if now < since.after(self.options.idle_timeout) {
                break;
            }
            gone.extend(shard.take_oldest());
        }
        let pause = (self.options.idle_timeout / LOOKS).max(LOOK_PAUSE_MIN);
        let next = (gone.len() < idle).then(|| now.after(pause));
        (gone, next)
    }

    /// Removes all idle items, when others need the room.
    pub(crate) fn drain(&self) -> Vec<T> {
        let mut gone = Vec::new();
        for shard in self.shards.iter() {
            gone.extend(shard.lock().drain());
        }
        gone
    }

    /// Returns the state of the pool at this moment.
    #[must_use]
    pub(crate) fn usage(&self) -> PoolUsage {
        let queue = self.queue.lock();
        let shards = self.lock_shards();
        let free: usize = shards.iter().map(|shard| shard.free()).sum();
        PoolUsage {
            // A permit outside the shards belongs to a call.
            running: self.options.instances_max - free,
            waiting: queue.waiting(),
            idle: shards.iter().map(|shard| shard.idle()).sum(),
            started: shards
                .iter()
                .fold(0, |sum, shard| sum.wrapping_add(shard.started())),
        }
    }

    /// Calls `see` with each idle item.
    pub(crate) fn for_each_idle(&self, mut see: impl FnMut(&T)) {
        for shard in self.shards.iter() {
            shard.lock().items().for_each(&mut see);
        }
    }

    /// Locks all shards. No deadlock: all other code holds at most one shard's lock at a time.
    fn lock_shards(&self) -> Vec<MutexGuard<'_, PermitShard<T>>> {
        self.shards.iter().map(Mutex::lock).collect()
    }

    /// Starts a call whose own shard had no permit, or no idle item.
    #[cold]
    fn enter_elsewhere(&self, permit: Option<Permit<T>>) -> Option<PermitGuard<'_, T>> {
        let permit = permit.or_else(|| self.take_permit())?;
        let item = permit.item.or_else(|| self.take_item());
        Some(self.start(Permit { item }))
    }

    /// Takes a permit from any shard.
    fn take_permit(&self) -> Option<Permit<T>> {
        self.shards
            .iter_from_local()
            .find_map(|shard| shard.lock().take())
    }

    /// Takes an idle item from any shard.
    fn take_item(&self) -> Option<T> {
        self.shards
            .iter_from_local()
            .find_map(|shard| shard.lock().take_oldest())
    }

    /// Starts the call that has this permit.
    fn start(&self, permit: Permit<T>) -> PermitGuard<'_, T> {
        let sequence = self.shards.lock_local().start();
        self.permit(sequence, permit.item)
    }

    #[inline]
    fn permit(&self, sequence: u64, item: Option<T>) -> PermitGuard<'_, T> {
        PermitGuard {
            pool: self,
            sequence,
            item,
        }
    }

    /// Adds a call to the queue and returns its ticket.
    fn join_queue(&self, waiting_max: usize) -> Result<u64, EnterError> {
        let mut queue = self.queue.lock();
        let ticket = queue.join();
        self.note_queued(&queue);
        // A call may have ended since the shards were searched.
        let mut woken = Vec::new();
        while queue.waiting() > 0
            && let Some(permit) = self.take_permit()
        {
            woken.extend(queue.hand_over(permit).ok());
        }
        let refused = queue.waiting() > waiting_max;
        if refused {
            queue.leave(ticket);
        }
        self.note_queued(&queue);
        drop(queue);
        woken.into_iter().for_each(Waker::wake);
        if refused {
            Err(EnterError::Busy)
        } else {
            Ok(ticket)
        }
    }

    /// Ends the call that had this permit.
    #[inline]
    fn leave(&self, permit: Permit<T>) {
        let mut shard = self.shards.lock_local();
        if self.queued.load(Ordering::Relaxed) {
            drop(shard);
            self.hand_over(permit);
        } else {
            shard.put(permit);
        }
    }

    /// Gives a permit to the call that waits longest, or back to a shard.
    #[cold]
    fn hand_over(&self, permit: Permit<T>) {
        let mut queue = self.queue.lock();
        match queue.hand_over(permit) {
            Ok(waker) => {
                self.note_queued(&queue);
                drop(queue);
                waker.wake();
            }
            Err(permit) => self.shards.lock_local().put(permit),
        }
    }

    fn note_queued(&self, queue: &Queue<T>) {
        // The locks of the shards order it.
        self.queued.store(queue.waiting() > 0, Ordering::Relaxed);
    }
}

/// Removes a dropped call from the queue, and passes on a permit that it was given meanwhile.
struct TicketGuard<'a, T> {
    pool: &'a Pool<T>,
    ticket: u64,
}

impl<T> Drop for TicketGuard<'_, T> {
    fn drop(&mut self) {
        let permit = {
            let mut queue = self.pool.queue.lock();
            let permit = queue.leave(self.ticket);
            self.pool.note_queued(&queue);
            permit
        };
        if let Some(permit) = permit {
            self.pool.hand_over(permit);
        }
    }
}

/// The right of one call to run; given up when dropped.
#[derive(Debug)]
pub(crate) struct PermitGuard<'a, T> {
    pool: &'a Pool<T>,
    sequence: u64,
    item: Option<T>,
}

impl<T> PermitGuard<'_, T> {
    /// Returns the sequence number of this call within its shard; wraps.
    #[must_use]
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Takes the item that an earlier call left, if there is one.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.item.take()
    }

    /// Ends the call and keeps `item` for the next.
    pub(crate) fn put_back(self, item: T) {
        let pool = self.pool;
        // An item that the permit still holds was not used; drop it.
        drop(self.item_only());
        pool.leave(Permit { item: Some(item) });
    }

    /// Takes the permit apart without giving up the right to run.
    fn item_only(self) -> Option<T> {
        let mut this = std::mem::ManuallyDrop::new(self);
        this.item.take()
    }
}

impl<T> Drop for PermitGuard<'_, T> {
    fn drop(&mut self) {
        let item = self.item.take();
        self.pool.leave(Permit { item });
    }
}

#[cfg(test)]
mod tests;
