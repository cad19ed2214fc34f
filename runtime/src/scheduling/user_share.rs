//! Shares of users: none of them can keep all others from a function.
//!
//! A function's last places are kept for users that have few calls of it running: a quarter of its
//! places, divided among the users. Calls of a user that has more than that wait, in a queue of their
//! own before the function's pool, so that they hold no permit that another user's call could take.
//! With one user alone, nothing is kept back and nothing is counted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::scheduling::pool::{EnterError, PoolOptions};

/// Names of all users so far, in the order of their numbers.
static NAMES: Mutex<Vec<Box<str>>> = Mutex::new(Vec::new());

/// Number of those names, read without the lock.
static KNOWN: AtomicUsize = AtomicUsize::new(0);

/// A user whose calls are counted together: its number in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallUser(NonZeroU32);

impl CallUser {
    /// Returns the user of this name. Keep it: looking a name up takes a lock.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut names = NAMES.lock();
        let index = names.iter().position(|known| &**known == name);
        let index = index.unwrap_or_else(|| {
            names.push(name.into());
            KNOWN.store(names.len(), Ordering::Relaxed);
            names.len() - 1
        });
        let number = u32::try_from(index).unwrap_or(u32::MAX - 1);
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    /// Returns the user's name.
    #[must_use]
    pub fn name(self) -> Box<str> {
        let index = self.0.get() as usize - 1;
        NAMES.lock().get(index).cloned().unwrap_or_default()
    }

    /// Returns how many users there have been.
    #[must_use]
    pub fn known() -> usize {
        KNOWN.load(Ordering::Relaxed)
    }
}

/// The user that a call is for, and how many users share the places. By default, nobody: the call is
/// counted for no user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserShare {
    user: Option<CallUser>,
    users: usize,
}

impl UserShare {
    /// The share of a call that is counted for no user.
    pub const NOBODY: Self = Self {
        user: None,
        users: 0,
    };

    /// Makes the share of a user, among `users`. If there is one alone, it has no bound.
    #[must_use]
    pub const fn new(user: CallUser, users: usize) -> Self {
        Self {
            user: if users > 1 { Some(user) } else { None },
            users,
        }
    }

    /// Returns the user; `None` if the call is counted for none.
    #[must_use]
    pub const fn user(self) -> Option<CallUser> {
        self.user
    }

    /// Returns the part of `reserve` places that one user may have: one at least.
    pub(crate) fn of(self, reserve: usize) -> usize {
        (reserve / self.users.max(1)).max(1)
    }
}

/// The calls of a function that users have running, or that wait because their user has its share.
#[derive(Debug)]
pub(crate) struct UserGate {
    places_max: usize,
    waiting_max: usize,
    state: Mutex<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    /// Users that have running calls, and how many.
    running: Vec<(CallUser, usize)>,
    /// Running calls of all users.
    total: usize,
    /// In the order of arrival.
    waiting: VecDeque<Waiting>,
    /// Tickets whose calls were counted as running and have not been polled since.
    granted: Vec<(u64, CallUser)>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    user: CallUser,
    share: usize,
    waker: Waker,
}

impl GateState {
    fn running(&self, user: CallUser) -> usize {
        let found = self.running.iter().find(|(one, _)| *one == user);
        found.map_or(0, |(_, count)| *count)
    }

    fn begin(&mut self, user: CallUser) {
        self.total += 1;
        match self.running.iter_mut().find(|(one, _)| *one == user) {
            Some((_, count)) => *count += 1,
            None => self.running.push((user, 1)),
        }
    }

    fn end(&mut self, user: CallUser) {
        self.total = self.total.saturating_sub(1);
        if let Some(at) = self.running.iter().position(|(one, _)| *one == user) {
            self.running[at].1 -= 1;
            if self.running[at].1 == 0 {
                self.running.swap_remove(at);
            }
        }
    }

    fn poll(&mut self, ticket: u64, waker: &Waker) -> Poll<Result<(), EnterError>> {
        if let Some(at) = self.granted.iter().position(|(one, _)| *one == ticket) {
            self.granted.swap_remove(at);
            return Poll::Ready(Ok(()));
        }
        match self.waiting.iter_mut().find(|one| one.ticket == ticket) {
            Some(waiting) => {
                waiting.waker.clone_from(waker);
                Poll::Pending
            }
            None => Poll::Ready(Err(EnterError::Cancelled)),
        }
    }
}

impl UserGate {
    /// Creates the gate before a pool of this size.
    pub(crate) fn new(options: &PoolOptions) -> Self {
        Self {
            places_max: options.instances_max,
            waiting_max: options.waiting_max,
            state: Mutex::default(),
        }
    }

    /// Places that are kept for users with few running calls.
    const fn reserve(&self) -> usize {
        self.places_max / 4
    }

    fn is_open(&self, state: &GateState, user: CallUser, share: usize) -> bool {
        state.total < self.places_max - self.reserve() || state.running(user) < share
    }

    /// Lets a call in at once if it is counted for no user, or its user has not its share yet.
    #[inline]
    pub(crate) fn try_enter(&self, share: UserShare) -> Option<Option<GatePass<'_>>> {
        match share.user {
            Some(user) if self.reserve() > 0 => self.try_enter_as(user, share).map(Some),
            _ => Some(None),
        }
    }

    fn try_enter_as(&self, user: CallUser, share: UserShare) -> Option<GatePass<'_>> {
        let mut state = self.state.lock();
        let waits = state.waiting.iter().any(|one| one.user == user);
        let is_open = !waits && self.is_open(&state, user, share.of(self.reserve()));
        is_open.then(|| {
            state.begin(user);
            GatePass { gate: self, user }
        })
    }

    /// Lets a call in as soon as its user has room. Calls of one user are let in in their order.
    ///
    /// # Errors
    ///
    /// [`EnterError`]. The future may be dropped at any time.
    pub(crate) async fn enter(&self, share: UserShare) -> Result<Option<GatePass<'_>>, EnterError> {
        if let Some(pass) = self.try_enter(share) {
            return Ok(pass);
        }
        let Some(user) = share.user else {
            return Ok(None);
        };
        let ticket = {
            let mut state = self.state.lock();
            if state.waiting.len() >= self.waiting_max {
                return Err(EnterError::Busy);
            }
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.push_back(Waiting {
                ticket,
                user,
                share: share.of(self.reserve()),
                waker: Waker::noop().clone(),
            });
            ticket
        };
        // A call may have ended since the first look.
        self.let_in();
        let guard = GateTicket { gate: self, ticket };
        let entered = poll_fn(|context| self.state.lock().poll(ticket, context.waker())).await;
        drop(guard);
        entered.map(|()| Some(GatePass { gate: self, user }))
    }

    /// Lets in the waiting calls that may, and wakes them.
    fn let_in(&self) {
        let mut woken = Vec::new();
        {
            let mut state = self.state.lock();
            let mut at = 0;
            while let Some(&Waiting {
                ticket,
                user,
                share,
                ..
            }) = state.waiting.get(at)
            {
                if self.is_open(&state, user, share) {
                    woken.extend(state.waiting.remove(at).map(|one| one.waker));
                    state.begin(user);
                    state.granted.push((ticket, user));
                } else {
                    at += 1;
                }
            }
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Refuses all waiting calls.
    pub(crate) fn cancel_waiting(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.into_iter().for_each(|one| one.waker.wake());
    }

    /// Returns the number of calls that wait here.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Returns the number of running calls of a user.
    pub(crate) fn running(&self, user: CallUser) -> usize {
        self.state.lock().running(user)
    }

    /// Calls `see` with each user that has running calls, and their number.
    pub(crate) fn for_each_user(&self, mut see: impl FnMut(CallUser, usize)) {
        for &(user, count) in &self.state.lock().running {
            see(user, count);
        }
    }

    fn leave(&self, user: CallUser) {
        let waits = {
            let mut state = self.state.lock();
            state.end(user);
            !state.waiting.is_empty()
        };
        if waits {
            self.let_in();
        }
    }
}

/// A call of a user while it runs.
#[derive(Debug)]
pub(crate) struct GatePass<'a> {
    gate: &'a UserGate,
    user: CallUser,
}

impl Drop for GatePass<'_> {
    fn drop(&mut self) {
        self.gate.leave(self.user);
    }
}

/// Removes a dropped call from the queue, and ends it if it was let in meanwhile.
struct GateTicket<'a> {
    gate: &'a UserGate,
    ticket: u64,
}

impl Drop for GateTicket<'_> {
    fn drop(&mut self) {
        let user = {
            let mut state = self.gate.state.lock();
            state.waiting.retain(|one| one.ticket != self.ticket);
            let at = state.granted.iter().position(|one| one.0 == self.ticket);
            at.map(|at| state.granted.swap_remove(at).1)
        };
        if let Some(user) = user {
            self.gate.leave(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::{CallUser, EnterError, PoolOptions, UserGate, UserShare};

    fn gate(instances_max: usize, waiting_max: usize) -> UserGate {
        UserGate::new(&PoolOptions {
            instances_max,
            waiting_max,
            ..PoolOptions::default()
        })
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn share(name: &str, users: usize) -> UserShare {
        UserShare::new(CallUser::named(name), users)
    }

    #[test]
    fn a_name_has_one_number() {
        let (a, b) = (CallUser::named("a name"), CallUser::named("another name"));
        assert_ne!(a, b);
        assert_eq!(CallUser::named("a name"), a);
        assert_eq!((&*a.name(), &*b.name()), ("a name", "another name"));
        assert!(CallUser::known() >= 2);
    }

    #[test]
    fn a_user_alone_has_no_bound() {
        let gate = gate(4, 0);
        let passes: Vec<_> = (0..10)
            .map(|_| gate.try_enter(share("greedy", 1)).expect("no bound"))
            .collect();
        assert!(passes.iter().all(Option::is_none));
        assert!(gate.try_enter(UserShare::default()).is_some());
    }

    #[test]
    fn a_quarter_is_left_to_other_users() {
        let gate = gate(16, 100);
        let (greedy, modest, third) = (share("greedy", 3), share("modest", 3), share("third", 3));
        let mut running: Vec<_> = (0..12)
            .map(|_| gate.try_enter(greedy).expect("three quarters"))
            .collect();
        assert!(gate.try_enter(greedy).is_none());
        let mut waiting = pin!(gate.enter(greedy));
        assert!(poll(waiting.as_mut()).is_pending());
        assert_eq!(gate.waiting(), 1);
        // The last four places are three shares of one.
        let one = gate.try_enter(modest).expect("the share of another user");
        assert!(gate.try_enter(modest).is_none());
        let other = gate.try_enter(third).expect("the share of a third user");
        // Only when fewer than three quarters are used is there room for more than a share.
        drop((one, other));
        assert!(poll(waiting.as_mut()).is_pending());
        running.pop();
        assert!(matches!(poll(waiting.as_mut()), Poll::Ready(Ok(Some(_)))));
    }

    #[test]
    fn calls_that_wait_or_are_dropped_are_not_counted() {
        let gate = gate(4, 1);
        let (greedy, user) = (share("greedy", 2), CallUser::named("greedy"));
        let running: Vec<_> = (0..3).map(|_| gate.try_enter(greedy)).collect();
        assert!(running.iter().all(Option::is_some));
        let mut first = Box::pin(gate.enter(greedy));
        assert!(poll(first.as_mut()).is_pending());
        let busy = poll(pin!(gate.enter(greedy)));
        assert!(matches!(busy, Poll::Ready(Err(EnterError::Busy))));
        assert_eq!(gate.running(user), 3);
        // It is let in, and dropped before it knows.
        drop(running);
        assert_eq!(gate.running(user), 1);
        drop(first);
        assert_eq!((gate.running(user), gate.waiting()), (0, 0));
        let mut seen = 0;
        gate.for_each_user(|_, count| seen += count);
        assert_eq!(seen, 0);
    }

    #[test]
    fn waiting_calls_can_be_refused() {
        let gate = gate(4, 4);
        let greedy = share("greedy", 2);
        let _running: Vec<_> = (0..3).map(|_| gate.try_enter(greedy)).collect();
        let mut waiting = pin!(gate.enter(greedy));
        assert!(poll(waiting.as_mut()).is_pending());
        gate.cancel_waiting();
        let refused = poll(waiting.as_mut());
        assert!(matches!(refused, Poll::Ready(Err(EnterError::Cancelled))));
    }
}
