//! The signal handler that records the pages that a call writes, and those of its growth that it
//! touches.
//!
//! It is installed in front of wasmtime's handler and passes on every fault that is not an access to
//! a protected page within a memory of an arena. It runs on the faulting thread in the middle of guest or host
//! code, so it only touches a fixed table of atomics and makes one raw system call.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use rustix::mm::{MprotectFlags, mprotect};

use super::HOST_PAGE;
use super::slot::{Learned, MemorySlot};

/// Most arenas of a process at a time.
const ARENAS_MAX: usize = 64;

/// The handler's entry for an arena: its location and its slots' records.
struct Entry {
    /// First byte of the first slot; 0 for a free entry.
    base: AtomicUsize,
    /// Bytes from one slot to the next.
    stride: AtomicUsize,
    /// Records of the slots.
    slots: AtomicPtr<MemorySlot>,
    /// Number of slots.
    count: AtomicUsize,
}

static ARENAS: [Entry; ARENAS_MAX] = [const {
    Entry {
        base: AtomicUsize::new(0),
        stride: AtomicUsize::new(0),
        slots: AtomicPtr::new(ptr::null_mut()),
        count: AtomicUsize::new(0),
    }
}; ARENAS_MAX];

/// The handler before ours: wasmtime's.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Registration of an arena in the handler's table; ends when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    entry: usize,
}

impl Registration {
    /// Registers an arena with the handler; the first registration installs the handler.
    ///
    /// # Safety
    ///
    /// The `count` records at `slots` must live as long as the registration, and the memory from
    /// `base` on, `stride` bytes for each, must be the arena's own.
    pub(super) unsafe fn new(
        base: usize,
        stride: usize,
        slots: *mut MemorySlot,
        count: usize,
    ) -> io::Result<Self> {
        install()?;
        for (index, entry) in ARENAS.iter().enumerate() {
            // An entry is claimed by its stride and read only once its base is set.
            let claimed =
                entry
                    .stride
                    .compare_exchange(0, stride, Ordering::AcqRel, Ordering::Relaxed);
            if claimed.is_ok() {
                entry.slots.store(slots, Ordering::Relaxed);
                entry.count.store(count, Ordering::Relaxed);
                entry.base.store(base, Ordering::Release);
                return Ok(Self { entry: index });
            }
        }
        Err(io::Error::other(format!(
            "a process can have {ARENAS_MAX} runtimes at once"
        )))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = &ARENAS[self.entry];
        entry.base.store(0, Ordering::Release);
        entry.stride.store(0, Ordering::Release);
    }
}

/// Installs the handler, once per process. wasmtime's must be installed already.
fn install() -> io::Result<()> {
    static DONE: OnceLock<Option<i32>> = OnceLock::new();
    let failed = DONE.get_or_init(|| {
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: reading the present action of a valid signal into a place of its type.
        let read = unsafe { libc::sigaction(libc::SIGSEGV, ptr::null(), previous.as_mut_ptr()) };
        if read != 0 {
            return io::Error::last_os_error().raw_os_error();
        }
        // SAFETY: the call above filled it.
        let previous = unsafe { previous.assume_init() };
        // Store it before the new handler can run and read it.
        let _ = PREVIOUS.set(previous);
        // SAFETY: a zeroed action is a valid one: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
        action.sa_sigaction = handler as *const () as usize;
        // Same flags as wasmtime's: an alternative stack, because a guest may have used up its own,
        // and no deferring, because the next handler may fault on purpose.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
        // SAFETY: the action is complete and its handler is async-signal-safe.
        let set = unsafe { libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()) };
        if set == 0 {
            None
        } else {
            io::Error::last_os_error().raw_os_error()
        }
    });
    match failed {
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(*code)),
    }
}

/// Records a protected page that was accessed; passes on all other faults.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a signal handler with SA_SIGINFO a valid `siginfo_t`, and for
    // SIGSEGV its address field is set.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code == libc::SEGV_ACCERR && learn(address) {
        return;
    }
    delegate(signal, info, context);
}

/// `si_code` of an access that a mapping's protection forbids (asm-generic/siginfo.h); the libc
/// crate does not define it on some targets.
mod libc {
    pub(super) use ::libc::*;
    pub(super) const SEGV_ACCERR: c_int = 2;
}

fn learn(address: usize) -> bool {
    for entry in &ARENAS {
        let base = entry.base.load(Ordering::Acquire);
        if base == 0 || address < base {
            continue;
        }
        let stride = entry.stride.load(Ordering::Relaxed);
        let offset = address - base;
        let Some(index) = offset.checked_div(stride) else {
            continue;
        };
        if index >= entry.count.load(Ordering::Relaxed) {
            continue;
        }
        // SAFETY: the registration promises `count` records here for as long as `base` is set, and
        // a fault inside an arena means that one of its memories, and so the arena, is alive.
        let slot = unsafe { &*entry.slots.load(Ordering::Relaxed).add(index) };
        let start = base + index * stride;
        let (from, len) = match slot.learn(offset % stride) {
            Learned::Page(page) => (page as usize * HOST_PAGE, HOST_PAGE),
            Learned::Everything(len) => (0, len),
            Learned::NotOurs => return false,
        };
        if allow_writes(start + from, len) {
            return true;
        }
        // The kernel has no mapping left for this page alone; one for all pages takes fewer. If
        // that fails too, the fault is passed on and ends the call as a trap.
        return match slot.give_up(slot.size()) {
            Learned::Everything(len) => allow_writes(start, len),
            _ => false,
        };
    }
    false
}

/// Makes part of a memory writable. Returns true on success.
fn allow_writes(start: usize, len: usize) -> bool {
    // SAFETY: the range lies within a memory's size, which is mapped; making it
    // writable is what the memory's owner expects. rustix makes the raw system call, which is
    // async-signal-safe and leaves `errno` alone.
    let done = unsafe {
        mprotect(
            ptr::with_exposed_provenance_mut(start),
            len,
            MprotectFlags::READ | MprotectFlags::WRITE,
        )
    };
    done.is_ok()
}

/// Passes a fault to the previous handler.
fn delegate(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(previous) = PREVIOUS.get() else {
        return;
    };
    let default = previous.sa_sigaction == libc::SIG_DFL || previous.sa_sigaction == libc::SIG_IGN;
    if default {
        // SAFETY: restoring the action that stood before; returning runs the faulting instruction
        // again, which then does what it would have done without us.
        unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
    } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with SA_SIGINFO the field holds a handler of three arguments.
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(previous.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO the field holds a handler of one argument.
        let handler: extern "C" fn(libc::c_int) =
            unsafe { std::mem::transmute(previous.sa_sigaction) };
        handler(signal);
    }
}
