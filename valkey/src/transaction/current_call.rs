//! Where a call runs just now: on the server's main thread, or beside it.
//!
//! The runtime asks its keyspace for data without knowing of the server's contexts. Whoever polls a
//! call says with [`during`] what may be used while it is polled, and data accesses find it with
//! [`with`]. On the main thread that is the command's context. Beside it, it is a context that may
//! be used only under the server's lock, which is taken for one access at a time, or kept for some
//! milliseconds by a call that has lost against others too often.

#![allow(
    unsafe_code,
    reason = "lends a context to code further down the stack, and takes the server's lock"
)]

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::api::context::{Context, Who};
use crate::api::ffi::{Ctx, api};
use crate::transaction::call::{Call, State};

/// How long a call may keep the server's lock after it has lost against others too often.
pub(crate) const HOLD_MAX: Duration = Duration::from_millis(10);

/// What a call that is polled now may use.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The call.
    pub(crate) call: &'a Arc<Call>,
    /// What it has read and written so far.
    pub(crate) state: &'a RefCell<State>,
    seat: Seat<'a>,
}

#[derive(Clone, Copy)]
enum Seat<'a> {
    Main(Context<'a>),
    Beside(&'a Beside),
}

thread_local! {
    static HERE: Cell<Option<std::ptr::NonNull<()>>> = const { Cell::new(None) };
}

impl<'a> Place<'a> {
    /// On the main thread, inside of a callback.
    pub(crate) const fn main(
        call: &'a Arc<Call>,
        state: &'a RefCell<State>,
        context: Context<'a>,
    ) -> Self {
        Self::new(call, state, Seat::Main(context))
    }

    /// On another thread.
    pub(crate) const fn beside(
        call: &'a Arc<Call>,
        state: &'a RefCell<State>,
        beside: &'a Beside,
    ) -> Self {
        Self::new(call, state, Seat::Beside(beside))
    }

    const fn new(call: &'a Arc<Call>, state: &'a RefCell<State>, seat: Seat<'a>) -> Self {
        Self { call, state, seat }
    }

    /// Whether the server stands still while the call runs here.
    pub(crate) const fn is_main(&self) -> bool {
        matches!(self.seat, Seat::Main(_))
    }

    /// Uses the server's data.
    pub(crate) fn enter<R>(&self, access: impl FnOnce(Context<'_>) -> R) -> R {
        match self.seat {
            Seat::Main(context) => access(context),
            Seat::Beside(beside) => beside.locked(access),
        }
    }

    /// Keeps the server's lock from now on, for [`HOLD_MAX`] at most.
    pub(crate) fn hold(&self) {
        if let Seat::Beside(beside) = self.seat {
            beside.hold();
        }
    }

    /// Ends what `hold` began.
    pub(crate) fn let_go(&self) {
        if let Seat::Beside(beside) = self.seat {
            beside.let_go();
        }
    }
}

/// Lets code further down the stack find `place`.
pub(crate) fn during<R>(place: &Place<'_>, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<std::ptr::NonNull<()>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }
    let before = HERE.replace(Some(std::ptr::NonNull::from(place).cast()));
    let _restore = Restore(before);
    run()
}

/// Finds the place that the call on this thread runs in; `None` outside of a call.
pub(crate) fn with<R>(find: impl FnOnce(&Place<'_>) -> R) -> Option<R> {
    HERE.get().map(|place| {
        // SAFETY: `during` put the address of a place there that outlives the code it runs, and
        // takes it away again before the place ends, a panic included. This thread runs that code.
        let place: &Place<'_> = unsafe { place.cast().as_ref() };
        find(place)
    })
}

/// A context for a thread beside the main one, which may be used under the server's lock only.
pub(crate) struct Beside {
    context: *mut Ctx,
    /// The caller's name; none for the server itself.
    user: Option<Box<[u8]>>,
    /// Since when this thread has kept the lock.
    held: Mutex<Option<Instant>>,
}

// SAFETY: the context is touched under the server's lock alone, in the methods below.
unsafe impl Send for Beside {}
// SAFETY: as above.
unsafe impl Sync for Beside {}

impl Beside {
    /// # Safety
    ///
    /// `context` is a thread-safe context of the server's, which is the new owner's to free.
    pub(crate) unsafe fn new(context: *mut Ctx, user: Option<Box<[u8]>>) -> Self {
        Self {
            context,
            user,
            held: Mutex::new(None),
        }
    }

    /// Uses the server's data under its lock.
    pub(crate) fn locked<R>(&self, access: impl FnOnce(Context<'_>) -> R) -> R {
        struct Unlock(*mut Ctx);
        impl Drop for Unlock {
            fn drop(&mut self) {
                // SAFETY: this thread holds the lock.
                unsafe { (api().thread_safe_context_unlock)(self.0) };
            }
        }
        let _unlock = self.held.lock().is_none().then(|| {
            // SAFETY: the context is alive, and this thread does not hold the lock.
            unsafe { (api().thread_safe_context_lock)(self.context) };
            Unlock(self.context)
        });
        // SAFETY: this thread holds the lock, and keeps it for as long as `access` runs.
        let Some(context) = (unsafe { Context::new(self.context) }) else {
            // `new` was given a context.
            unreachable!("the server gave a context")
        };
        match &self.user {
            // SAFETY: there is no user in it.
            None => access(unsafe { context.beside(Who::Server) }),
            // Asked for anew each time: the user may be taken away while the lock is not held.
            Some(name) => context.with_user(name, |who| {
                // SAFETY: the user lives for as long as this runs.
                access(unsafe { context.beside(who) })
            }),
        }
    }

    fn hold(&self) {
        let mut held = self.held.lock();
        if held.is_none() {
            // SAFETY: the context is alive, and this thread does not hold the lock.
            unsafe { (api().thread_safe_context_lock)(self.context) };
            *held = Some(Instant::now());
        }
    }

    /// Gives the lock back if it is kept.
    pub(crate) fn let_go(&self) {
        if self.held.lock().take().is_some() {
            // SAFETY: this thread took the lock in `hold`: while it is kept, a call stays on its
            // thread.
            unsafe { (api().thread_safe_context_unlock)(self.context) };
        }
    }

    /// Whether the lock is kept and may still be.
    pub(crate) fn is_held(&self) -> bool {
        let since = *self.held.lock();
        match since {
            Some(since) if since.elapsed() < HOLD_MAX => true,
            Some(_) => {
                self.let_go();
                false
            }
            None => false,
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.let_go();
        // SAFETY: it is ours. The lock is held while it is freed, because what it was made of goes
        // back to the server's main thread; to give the lock up the server needs no context.
        unsafe {
            (api().thread_safe_context_lock)(self.context);
            (api().free_thread_safe_context)(self.context);
            (api().thread_safe_context_unlock)(std::ptr::null_mut());
        }
    }
}
