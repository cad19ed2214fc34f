//! Carries jobs to the future that runs them, and their replies back.

#![allow(
    unsafe_code,
    reason = "a runner and its future share cells without a lock, and move between threads together"
)]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use crate::execution::job::Job;
use crate::transaction::call::Call;

/// A larger buffer is not kept for the next reply.
const BUFFER_KEEP_BYTES: usize = 64 << 10;

/// The state shared by a runner and its future.
///
/// It is the runner's waker too: waking it notes that the future wants to be polled again at once.
pub(crate) struct Mailbox {
    job: Cell<Option<(Arc<Call>, Job)>>,
    reply: Cell<Option<Vec<u8>>>,
    /// The buffer of the last reply, emptied.
    buffer: Cell<Vec<u8>>,
    woken: AtomicBool,
}

// SAFETY: the cells are touched only by the methods below, which the caller of `new` calls from one
// thread at a time. What they hold may be sent to another thread, and so may be dropped on the
// thread that drops the last waker. Wakers on other threads touch `woken` alone, which is atomic.
unsafe impl Sync for Mailbox where (Arc<Call>, Job): Send {}

impl Mailbox {
    /// An empty mailbox.
    ///
    /// # Safety
    ///
    /// At most one thread at a time calls the methods of the mailbox, except for those of [`Wake`],
    /// and all that one thread did happens before what the next one does.
    pub(crate) unsafe fn new() -> Arc<Self> {
        Arc::new(Self {
            job: Cell::new(None),
            reply: Cell::new(None),
            buffer: Cell::new(Vec::new()),
            woken: AtomicBool::new(false),
        })
    }

    /// Puts in the next job, for the future.
    pub(crate) fn put_job(&self, call: Arc<Call>, job: Job) {
        self.job.set(Some((call, job)));
    }

    /// Takes the next job out, in the future; `None` until there is one.
    pub(crate) fn take_job(&self) -> Option<(Arc<Call>, Job)> {
        self.job.take()
    }

    /// Puts in the reply of the job that was taken last, for the runner.
    pub(crate) fn put_reply(&self, reply: Vec<u8>) {
        self.reply.set(Some(reply));
    }

    /// Takes the reply out; `None` until the job is done.
    pub(crate) fn take_reply(&self) -> Option<Vec<u8>> {
        self.reply.take()
    }

    /// Keeps a reply that was sent as the buffer of the next one, unless it is large.
    pub(crate) fn keep_buffer(&self, mut reply: Vec<u8>) {
        if reply.capacity() <= BUFFER_KEEP_BYTES {
            reply.clear();
            self.buffer.set(reply);
        }
    }

    /// Takes the buffer to write a reply into.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.buffer.take()
    }

    /// Forgets earlier wakes, before the future is polled.
    pub(crate) fn clear_woken(&self) {
        self.woken.store(false, Ordering::Relaxed);
    }

    /// Returns true if the mailbox was woken since [`clear_woken`](Self::clear_woken).
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }
}

impl Wake for Mailbox {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::{BUFFER_KEEP_BYTES, Mailbox};

    #[test]
    fn replies_leave_their_buffer_and_wakes_their_mark() {
        // SAFETY: this thread alone uses the mailbox.
        let mailbox = unsafe { Mailbox::new() };
        mailbox.put_reply(b"+OK\r\n".to_vec());
        let reply = mailbox.take_reply().expect("it was put in");
        assert!(mailbox.take_reply().is_none());
        let start = reply.as_ptr();
        mailbox.keep_buffer(reply);
        let buffer = mailbox.take_buffer();
        assert_eq!((buffer.as_ptr(), buffer.len()), (start, 0));
        mailbox.keep_buffer(vec![0; BUFFER_KEEP_BYTES + 1]);
        assert_eq!(mailbox.take_buffer().capacity(), 0, "a large one goes");

        let waker = Waker::from(std::sync::Arc::clone(&mailbox));
        assert!(!mailbox.is_woken());
        let woken_elsewhere = std::thread::spawn(move || waker.wake());
        woken_elsewhere.join().expect("no panic");
        assert!(mailbox.is_woken());
        mailbox.clear_woken();
        assert!(!mailbox.is_woken());
    }
}
