//! The call that is polled on this thread, with the context by which it reaches the server's data.
//!
//! Code that polls a call says with [`enter`] which call it is, and data accesses find it with
//! [`with`]. On the main thread the context is the command's. On other threads it is one that may
//! be used only under the server's lock, which is taken for one access at a time, or kept for some
//! milliseconds by a call that has lost conflicts too often.
//!
//! This is the module's only thread-local: the runtime's traits `Keyspace` and `Transaction`,
//! through which a function reaches data, know nothing of contexts and give no way to pass one.

#![allow(
    unsafe_code,
    reason = "lends a context to code further down the stack, and takes the server's lock"
)]

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::api::context::{Caller, Context};
use crate::api::ffi::{Ctx, api};
use crate::transaction::call::{Call, CallState};

/// Longest time that a call may keep the server's lock, once it has lost conflicts with other
/// writers too often.
pub(crate) const LOCK_KEEP_MAX: Duration = Duration::from_millis(10);

/// A call that is polled now, and what it may use.
#[derive(Clone, Copy)]
pub(crate) struct CurrentCall<'a> {
    pub(crate) call: &'a Arc<Call>,
    /// Data that it has read and written so far.
    pub(crate) state: &'a RefCell<CallState>,
    access: Access<'a>,
}

/// Access of the call to the server's data.
#[derive(Clone, Copy)]
enum Access<'a> {
    MainThread(Context<'a>),
    Locked(&'a LockedContext),
}

thread_local! {
    static CURRENT: Cell<Option<std::ptr::NonNull<()>>> = const { Cell::new(None) };
}

impl<'a> CurrentCall<'a> {
    /// A call on the main thread, inside of a callback.
    pub(crate) const fn on_main_thread(
        call: &'a Arc<Call>,
        state: &'a RefCell<CallState>,
        context: Context<'a>,
    ) -> Self {
        Self::new(call, state, Access::MainThread(context))
    }

    /// A call on another thread.
    pub(crate) const fn locked(
        call: &'a Arc<Call>,
        state: &'a RefCell<CallState>,
        locked: &'a LockedContext,
    ) -> Self {
        Self::new(call, state, Access::Locked(locked))
    }

    const fn new(call: &'a Arc<Call>, state: &'a RefCell<CallState>, access: Access<'a>) -> Self {
        Self {
            call,
            state,
            access,
        }
    }

    /// Returns true if no other client is served while the call is polled.
    pub(crate) const fn is_on_main_thread(&self) -> bool {
        matches!(self.access, Access::MainThread(_))
    }

    /// Runs `access` with a context, under the server's lock.
    pub(crate) fn with_context<R>(&self, access: impl FnOnce(Context<'_>) -> R) -> R {
        match self.access {
            Access::MainThread(context) => access(context),
            Access::Locked(locked) => locked.with_lock(access),
        }
    }

    /// Keeps the server's lock from now on, for [`LOCK_KEEP_MAX`] at most. The main thread has it
    /// anyway.
    pub(crate) fn keep_lock(&self) {
        if let Access::Locked(locked) = self.access {
            locked.keep_lock();
        }
    }

    /// Releases the lock that [`keep_lock`](Self::keep_lock) took.
    pub(crate) fn release_lock(&self) {
        if let Access::Locked(locked) = self.access {
            locked.release_lock();
        }
    }
}

/// Runs `run`, in which [`with`] finds `current`.
pub(crate) fn enter<R>(current: &CurrentCall<'_>, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<std::ptr::NonNull<()>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let before = CURRENT.replace(Some(std::ptr::NonNull::from(current).cast()));
    let _restore = Restore(before);
    run()
}

/// Finds the call that is polled on this thread; `None` outside of a call.
pub(crate) fn with<R>(find: impl FnOnce(&CurrentCall<'_>) -> R) -> Option<R> {
    CURRENT.get().map(|current| {
        // SAFETY: `enter` put the address of a call there that outlives the code it runs, and
        // takes it away again before the call ends, a panic included. This thread runs that code.
        let current: &CurrentCall<'_> = unsafe { current.cast().as_ref() };
        find(current)
    })
}

/// A context for a thread other than the main one; used only under the server's lock.
pub(crate) struct LockedContext {
    context: *mut Ctx,
    /// The caller's user name; `None` for the server itself.
    user: Option<Box<[u8]>>,
    /// Since when this thread has kept the lock; `None` if it is taken for one access at a time.
    kept_since: Mutex<Option<Instant>>,
}

// SAFETY: the context is touched under the server's lock alone, in the methods below.
unsafe impl Send for LockedContext {}
// SAFETY: as above.
unsafe impl Sync for LockedContext {}

impl LockedContext {
    /// # Safety
    ///
    /// `context` is a thread-safe context of the server that nothing else uses or frees.
    pub(crate) unsafe fn new(context: *mut Ctx, user: Option<Box<[u8]>>) -> Self {
        Self {
            context,
            user,
            kept_since: Mutex::new(None),
        }
    }

    /// Runs `access` under the server's lock, on behalf of the caller.
    pub(crate) fn with_lock<R>(&self, access: impl FnOnce(Context<'_>) -> R) -> R {
        struct Unlock(*mut Ctx);
        impl Drop for Unlock {
            fn drop(&mut self) {
                // SAFETY: this thread holds the lock.
                unsafe { (api().thread_safe_context_unlock)(self.0) };
            }
        }
        let _unlock = self.kept_since.lock().is_none().then(|| {
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
            None => access(unsafe { context.on_behalf_of(Caller::Server) }),
            // Looked up each time: the user may be deleted while the lock is not taken.
            Some(name) => context.with_user(name, |caller| {
                // SAFETY: the user lives for as long as this runs.
                access(unsafe { context.on_behalf_of(caller) })
            }),
        }
    }

    fn keep_lock(&self) {
        let mut kept_since = self.kept_since.lock();
        if kept_since.is_none() {
            // SAFETY: the context is alive, and this thread does not hold the lock.
            unsafe { (api().thread_safe_context_lock)(self.context) };
            *kept_since = Some(Instant::now());
        }
    }

    /// Releases the lock if it is kept.
    pub(crate) fn release_lock(&self) {
        if self.kept_since.lock().take().is_some() {
            // SAFETY: this thread took the lock in `keep_lock`: while it is kept, a call stays on
            // its thread.
            unsafe { (api().thread_safe_context_unlock)(self.context) };
        }
    }

    /// Returns true if the lock is kept. Releases it, and returns false, once its time is up.
    pub(crate) fn keeps_lock(&self) -> bool {
        let since = *self.kept_since.lock();
        match since {
            Some(since) if since.elapsed() < LOCK_KEEP_MAX => true,
            Some(_) => {
                self.release_lock();
                false
            }
            None => false,
        }
    }
}

impl Drop for LockedContext {
    fn drop(&mut self) {
        self.release_lock();
        // SAFETY: the context is freed once, by its owner, and under the lock, because its parts go
        // back to the server's main thread. The server needs no context to release the lock.
        unsafe {
            (api().thread_safe_context_lock)(self.context);
            (api().free_thread_safe_context)(self.context);
            (api().thread_safe_context_unlock)(std::ptr::null_mut());
        }
    }
}
