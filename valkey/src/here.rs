//! Calls on the server's main thread: a turn at a time, or to their end.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Waking, Poll, Wake, Waker};

use crate::jobs::Future_;
use crate::keyspace::visit;
use crate::place::{Place, during};

/// A reply's buffer larger than this is not kept for the next call.
const BUFFER_KEEP_BYTES: usize = 64 << 10;

/// What came of a turn.
pub(crate) enum Turn {
    /// The call is over; its reply.
    Ended(Vec<u8>),
    /// It wants another turn.
    GoesOn,
    /// It waits for something.
    Waits,
}

/// What came of a call that had to end here.
pub(crate) enum End {
    Reply(Vec<u8>),
    /// It would have to wait, which would hold up the server.
    Waits,
    /// The server wants it to end.
    Killed,
}

/// Gives a call a turn.
pub(crate) fn turn(place: &Place<'_>, future: &mut Future_) -> Turn {
    WOKEN.store(false, Ordering::Relaxed);
    match during(place, || poll(future)) {
        Poll::Ready(reply) => Turn::Ended(reply),
        Poll::Pending if WOKEN.load(Ordering::Relaxed) => Turn::GoesOn,
        Poll::Pending => Turn::Waits,
    }
}

/// Runs a call to its end. The server must not serve others meanwhile: in the middle of a transaction
/// it takes commands of none, and would end itself over one. So the call's time must be short, or
/// `killed` must be what looks after others.
pub(crate) fn to_the_end(place: &Place<'_>, mut future: Future_, killed: impl Fn() -> bool) -> End {
    let end = loop {
        match turn(place, &mut future) {
            Turn::Ended(reply) => break End::Reply(reply),
            Turn::GoesOn => {}
            Turn::Waits => break End::Waits,
        }
        if killed() {
            break End::Killed;
        }
    };
    during(place, || drop(future));
    close(place);
    end
}

/// Ends what a call on the main thread may do with the data.
pub(crate) fn close(place: &Place<'_>) {
    let call = place.call;
    if call.state.lock().journal.is_active() {
        // Only a fault of ours leaves anything to roll back.
        during(place, || visit(call, |session| session.roll_back()));
    }
    call.state.lock().closed = true;
}

/// Whether the call that was polled last on the main thread wants to go on at once.
static WOKEN: AtomicBool = AtomicBool::new(false);

struct NoteWake;

impl Wake for NoteWake {
    fn wake(self: Arc<Self>) {
        WOKEN.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        WOKEN.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(NoteWake));
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn poll(future: &mut Future_) -> Poll<Vec<u8>> {
    WAKER.with(|waker| future.as_mut().poll(&mut Waking::from_waker(waker)))
}

/// The buffer of the last reply, to write another into.
pub(crate) fn take_buffer() -> Vec<u8> {
    BUFFER
        .with(|buffer| {
            buffer
                .try_borrow_mut()
                .map(|mut buffer| std::mem::take(&mut *buffer))
        })
        .unwrap_or_default()
}

/// Keeps a reply's buffer for the next one.
pub(crate) fn keep_buffer(mut used: Vec<u8>) {
    if used.capacity() <= BUFFER_KEEP_BYTES {
        used.clear();
        BUFFER.with(|buffer| {
            if let Ok(mut buffer) = buffer.try_borrow_mut() {
                *buffer = used;
            }
        });
    }
}
