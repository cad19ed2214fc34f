//! The calls that wait for a turn, in the order in which they came.

use std::collections::VecDeque;
use std::task::Waker;

use crate::scheduling::pool::permits::Permit;

/// Calls that wait, and those that were given a turn and do not know it yet.
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

/// Where a call that waits stands.
pub(crate) enum TicketState<T> {
    /// It may start.
    Granted(Permit<T>),
    /// It still waits.
    Waiting,
    /// It was sent away.
    Cancelled,
}

impl<T> Queue<T> {
    /// Nobody waits.
    pub(crate) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            granted: Vec::new(),
            next_ticket: 0,
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Puts a call at the end of the queue; its ticket.
    pub(crate) fn join(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiting {
            ticket,
            waker: Waker::noop().clone(),
        });
        ticket
    }

    /// Gives a turn to the call that waits longest, and says whom to wake; the turn back if none
    /// waits.
    pub(crate) fn hand_over(&mut self, permit: Permit<T>) -> Result<Waker, Permit<T>> {
        let Some(Waiting { ticket, waker }) = self.waiting.pop_front() else {
            return Err(permit);
        };
        self.granted.push(Granted { ticket, permit });
        Ok(waker)
    }

    /// Where a call stands; `waker` is woken when that changes.
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

    /// Strikes a call out; the turn that it was given and did not take.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Permit<T>> {
        self.waiting.retain(|one| one.ticket != ticket);
        self.take_granted(ticket)
    }

    /// Sends away all who wait; those to wake.
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
