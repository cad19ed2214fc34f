//! The calls that wait for a permit, in their order of arrival.

use std::collections::VecDeque;
use std::task::Waker;

use crate::scheduling::pool::permits::Permit;

/// Waiting calls, and calls that were granted a permit and have not been polled since.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: VecDeque<Waiting>,
    granted: Vec<Granted<T>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
}

#[derive(Debug)]
struct Granted<T> {
    ticket: u64,
    permit: Permit<T>,
}

/// The state of a waiting call.
pub(crate) enum TicketState<T> {
    /// It may start.
    Granted(Permit<T>),
    /// It still waits.
    Waiting,
    /// It was refused.
    Cancelled,
}

impl<T> Queue<T> {
    /// Creates an empty queue.
    pub(crate) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            granted: Vec::new(),
            next_ticket: 0,
        }
    }

    /// Returns the number of waiting calls.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a call at the end and returns its ticket.
    pub(crate) fn join(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiting {
            ticket,
            waker: Waker::noop().clone(),
        });
        ticket
    }

    /// Grants a permit to the call that waits longest and returns its waker. Returns the permit if no
    /// call waits.
    pub(crate) fn hand_over(&mut self, permit: Permit<T>) -> Result<Waker, Permit<T>> {
        let Some(Waiting { ticket, waker }) = self.waiting.pop_front() else {
            return Err(permit);
        };
        self.granted.push(Granted { ticket, permit });
        Ok(waker)
    }

    /// Returns the state of a call. `waker` is woken when it changes.
    pub(crate) fn poll_ticket(&mut self, ticket: u64, waker: &Waker) -> TicketState<T> {
        if let Some(permit) = self.take_granted(ticket) {
            return TicketState::Granted(permit);
        }
        match self.waiting.iter_mut().find(|one| one.ticket == ticket) {
            Some(waiting) => {
                waiting.waker.clone_from(waker);
                TicketState::Waiting
            }
            None => TicketState::Cancelled,
        }
    }

    /// Removes a call. Returns the permit that it was granted and did not take.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Permit<T>> {
        self.waiting.retain(|one| one.ticket != ticket);
        self.take_granted(ticket)
    }

    /// Refuses all waiting calls. Returns their wakers.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = Waker> + use<T> {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|one| one.waker)
    }

    fn take_granted(&mut self, ticket: u64) -> Option<Permit<T>> {
        let at = self.granted.iter().position(|one| one.ticket == ticket)?;
        Some(self.granted.swap_remove(at).permit)
    }
}
