//! Sets the time slice of a thread: the time it computes before the scheduler lets others run.
#![allow(
    unsafe_code,
    reason = "the scheduler's attributes of a thread have no safe wrapper"
)]

use std::io;
use std::mem::size_of;
use std::time::Duration;

use libc::sched_attr;

/// Time slice of threads that serve connections, and the shortest that Linux grants.
///
/// They compute for microseconds at a time. A thread with a shorter slice than the running one
/// preempts it as soon as it has something to do, not only at the scheduler's next tick, which is up
/// to 10 ms away.
const SERVING: Duration = Duration::from_micros(100);

/// Requests the time slice of threads that serve connections, for this thread and those it starts.
pub fn ask_for_serving() {
    ask_for(SERVING);
}

/// Requests time slices of this length for the calling thread and those it starts.
///
/// Kernels before 6.12 ignore it. A thread with a scheduling policy other than the default keeps it,
/// because an operator chose it.
pub(crate) fn ask_for(slice: Duration) {
    if let Err(error) = set(slice) {
        // Other clients' requests then wait a little longer.
        tracing::debug!(%error, ?slice, "the time slice stays as it is");
    }
}

fn set(slice: Duration) -> io::Result<()> {
    let mut attributes = sched_attr {
        size: 0,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let size = size_of::<sched_attr>() as libc::c_uint;
    let (this_thread, no_flags): (libc::pid_t, libc::c_uint) = (0, 0);
    // SAFETY: the kernel writes at most `size` bytes to `attributes`, which has that size, consists of
    // plain numbers, and is borrowed nowhere else.
    let got = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            this_thread,
            &raw mut attributes,
            size,
            no_flags,
        )
    };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads `attributes.size` bytes of `attributes`, a field that the call above has
    // filled in with at most the struct's size, and keeps no pointer to it.
    let set = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            this_thread,
            &raw const attributes,
            no_flags,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{getpriority_process, setpriority_process};

    use super::set;

    #[test]
    fn a_slice_leaves_the_priority_as_it_is() {
        // On a new thread, because the change cannot be undone.
        let nice = std::thread::spawn(|| {
            setpriority_process(None, 7).unwrap();
            set(Duration::from_millis(1)).unwrap();
            set(Duration::from_millis(2)).unwrap();
            getpriority_process(None).unwrap()
        });
        assert_eq!(nice.join().unwrap(), 7);
    }
}
