//! Reasons why the host ends a guest that did not trap by itself.

use std::time::Duration;

use ferrite_protocol::budget::Exceeded;

use crate::call::reply_builder::ReplyError;

/// Reason why the host ends a guest. Host functions and the meter return it as the error of the
/// guest's call, in which [`crate::instance::trap`] finds it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostTrap {
    /// The call took longer than it may.
    #[error("the call took longer than it may")]
    Timeout {
        /// The limit.
        limit: Duration,
        /// The duration so far.
        elapsed: Duration,
    },
    /// The call has to run on a stack of its own; only the executor sees this.
    #[error("the call goes on for longer than a slice, or waits")]
    NeedsFiber,
    /// A command reached a limit after it had changed something, so a part of it was done.
    #[error("{0}; it had changed something before, so nothing of the call is kept")]
    CutOff(Exceeded),
    /// The call was killed.
    #[error("the call was killed")]
    Killed,
    /// A pointer leads out of the guest's memory.
    #[error(
        "{function} was given {len} bytes at {pointer:#x}, outside the memory of {memory_bytes} bytes"
    )]
    OutOfBounds {
        /// The host function.
        function: &'static str,
        /// Address of the bytes.
        pointer: u32,
        /// Number of bytes.
        len: u64,
        /// Size of the guest's memory.
        memory_bytes: usize,
    },
    /// A pointer that the guest returned leads out of its memory.
    #[error("{what} is {len} bytes at {pointer:#x}, outside the memory of {memory_bytes} bytes")]
    ReturnedOutOfBounds {
        /// Purpose of the pointer.
        what: &'static str,
        /// Address of the bytes.
        pointer: u32,
        /// Number of bytes.
        len: u32,
        /// Size of the guest's memory.
        memory_bytes: usize,
    },
    /// A pointer, but the guest exports no memory.
    #[error("{function} was given a pointer, and the module exports no memory named \"memory\"")]
    NoMemory {
        /// The host function.
        function: &'static str,
    },
    /// A piece of a reply in the wrong place.
    #[error("{function}: {problem}")]
    Reply {
        /// The host function.
        function: &'static str,
        /// The problem.
        problem: ReplyError,
    },
    /// The guest ended itself.
    #[error("the guest exited with code {code}; a function returns instead")]
    Exit {
        /// The exit code.
        code: i32,
    },
    /// The operating system has no randomness to give.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}
