//! Runs commands on the server, and reads their replies.

#![allow(
    unsafe_code,
    reason = "runs the server's commands, reads and frees their replies"
)]

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::api::context::{Caller, Context};
use crate::api::ffi::{CallReply, RmString, api};
use crate::api::string::{Owned, ServerString};

/// The reply of `PING`.
const PONG: &[u8] = b"+PONG\r\n";

impl<'a> Context<'a> {
    /// Runs the command `name` with the arguments `argv`. Returns `None` if the server would not
    /// run it.
    pub(crate) fn call<W: ServerString>(
        self,
        name: &CStr,
        format: Format,
        argv: &[W],
    ) -> Option<ServerReply<'a>> {
        let format = format.text(self.caller() != Caller::OfContext);
        let reply = self.call_once(name, format, argv)?;
        if !reply.bytes().is_empty() {
            return Some(reply);
        }
        // While a module listens to keyspace events, Valkey 9.1 collects the replies of some commands
        // before it sends them, and leaves them where they are if the command fails early (GETSET of a
        // list). The next command that runs for a module gets that reply before its own.
        let mut late = self.call_once::<Owned<'_>>(c"PING", c"Ev", &[])?;
        if late.bytes() == PONG {
            return Some(reply);
        }
        if late.bytes().ends_with(PONG) {
            late.cut = PONG.len();
        }
        Some(late)
    }

    fn call_once<W: ServerString>(
        self,
        name: &CStr,
        format: &CStr,
        argv: &[W],
    ) -> Option<ServerReply<'a>> {
        let mut raw: smallvec::SmallVec<[*mut RmString; 8]> =
            argv.iter().map(|word| word.as_borrowed().raw()).collect();
        // SAFETY: a live context, a C string, a format that takes an array of live strings and its
        // length, and those. The server does not keep the array.
        let reply = unsafe {
            (api().call)(
                self.raw(),
                name.as_ptr(),
                format.as_ptr(),
                raw.as_mut_ptr(),
                raw.len(),
            )
        };
        ServerReply::new(reply)
    }

    /// Returns the positions of a command's keys; `None` if the server does not know the command or
    /// refuses.
    pub(crate) fn key_positions(self, argv: &[Owned<'_>]) -> Option<Vec<usize>> {
        let mut raw: Vec<*mut RmString> = argv.iter().map(|word| word.borrow().raw()).collect();
        let count = c_int::try_from(raw.len()).ok()?;
        let mut keys = 0;
        // SAFETY: a live context, `count` live strings, a place for a number. What is returned is
        // an array of `keys` positions, or null.
        let positions =
            unsafe { (api().get_command_keys)(self.raw(), raw.as_mut_ptr(), count, &raw mut keys) };
        if positions.is_null() {
            return None;
        }
        let found = (0..usize::try_from(keys).unwrap_or(0))
            .filter_map(|index| {
                // SAFETY: `index` is below the number of positions in the array.
                usize::try_from(unsafe { *positions.add(index) }).ok()
            })
            .collect();
        // SAFETY: the array is the caller's to free.
        unsafe { (api().free)(positions.cast::<c_void>()) };
        Some(found)
    }
}

/// Way in which the server runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For the module itself: errors are returned as replies, and no permissions are checked.
    Own,
    /// For the caller: its permissions are checked, and commands that scripts may not run are
    /// refused.
    Caller,
    /// As `Own`, and the command is replicated.
    OwnReplicated,
    /// As `Caller`, and the command is replicated.
    CallerReplicated,
}

impl Format {
    /// Returns true if the caller's permissions are checked.
    pub(crate) const fn is_callers(self) -> bool {
        matches!(self, Self::Caller | Self::CallerReplicated)
    }

    /// Returns the format string for the server, without its permission check if that was done
    /// before.
    const fn text(self, permissions_checked: bool) -> &'static CStr {
        match (self, permissions_checked) {
            (Self::Own, _) => c"Ev",
            (Self::Caller, false) => c"ESCv",
            (Self::Caller, true) => c"ESv",
            (Self::OwnReplicated, _) => c"!Ev",
            (Self::CallerReplicated, false) => c"!ESCv",
            (Self::CallerReplicated, true) => c"!ESv",
        }
    }
}

/// Error of a command that the module ran for itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RunError {
    /// This node of the cluster does not serve the key: its slot is another node's, or on its way and the key
    /// is not here.
    #[error("the key is on another node of the cluster, or on its way there")]
    Elsewhere,
    /// The node has lost its cluster, so that no command runs.
    #[error("CLUSTERDOWN {0}")]
    ClusterDown(Box<str>),
    /// Another error.
    #[error("{0}")]
    Other(Box<str>),
}

impl RunError {
    /// Begins the error of a command about a key that is elsewhere. Clients get MOVED, ASK or CLUSTERDOWN
    /// instead, modules do not: Redis 7.0 to 8.0 and Valkey 8.1 to 9.1 say this.
    const ELSEWHERE: &str = "ERR Attempted to access a non local key in a cluster node";

    /// Stands in the error of a command that this node does not run because it has lost its cluster.
    const DOWN: &str = "while the cluster is down";

    /// Reads the text of an error reply.
    pub(crate) fn of(error: &[u8]) -> Self {
        let text = String::from_utf8_lossy(error);
        if text.starts_with(Self::ELSEWHERE) {
            return Self::Elsewhere;
        }
        if text.contains(Self::DOWN) {
            let plain = text.strip_prefix("ERR ").unwrap_or(&text);
            return Self::ClusterDown(plain.into());
        }
        Self::Other((*text).into())
    }
}

/// A reply in RESP, freed when dropped.
pub(crate) struct ServerReply<'a> {
    raw: NonNull<CallReply>,
    /// Bytes at its end that are another command's.
    cut: usize,
    _context: PhantomData<Context<'a>>,
}

impl ServerReply<'_> {
    pub(crate) fn new(raw: *mut CallReply) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            cut: 0,
            _context: PhantomData,
        })
    }

    /// Returns the reply as the server would send it, in RESP2.
    pub(crate) fn bytes(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: a live reply and a place for a length; the bytes live as long as the reply.
        let start = unsafe { (api().call_reply_proto)(self.raw.as_ptr(), &raw mut len) };
        if start.is_null() {
            return &[];
        }
        // SAFETY: as just said; only the end is left out.
        unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len.saturating_sub(self.cut)) }
    }

    /// Returns the text of an error reply, without the minus.
    pub(crate) fn error(&self) -> Option<&[u8]> {
        self.bytes().strip_prefix(b"-").map(<[u8]>::trim_ascii_end)
    }

    /// Returns an error reply; `None` if it is another one.
    pub(crate) fn run_error(&self) -> Option<RunError> {
        self.error().map(RunError::of)
    }

    /// Returns the number of an integer reply.
    pub(crate) fn integer(&self) -> Option<i64> {
        let digits = self.bytes().strip_prefix(b":")?.trim_ascii_end();
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Returns the bytes of a bulk string; `None` for null or another reply.
    pub(crate) fn bulk(&self) -> Option<&[u8]> {
        let rest = self.bytes().strip_prefix(b"$")?;
        let end = rest.iter().position(|&byte| byte == b'\r')?;
        let len: usize = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        rest.get(end + 2..)?.get(..len)
    }
}

impl Drop for ServerReply<'_> {
    fn drop(&mut self) {
        // SAFETY: `self` owns the reply, and frees it once.
        unsafe { (api().free_call_reply)(self.raw.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::RunError;

    /// The texts that Redis 7.0 and Valkey 9.1 have for modules.
    #[test]
    fn errors_of_a_cluster_are_told_apart() {
        let elsewhere = b"ERR Attempted to access a non local key in a cluster node";
        assert_eq!(RunError::of(elsewhere), RunError::Elsewhere);
        for down in [
            "Can not execute a command 'hget' while the cluster is down",
            "Can not execute a write command 'hset' while the cluster is down and readonly",
        ] {
            let error = RunError::of(format!("ERR {down}").as_bytes());
            assert_eq!(error, RunError::ClusterDown(down.into()));
            assert_eq!(error.to_string(), format!("CLUSTERDOWN {down}"));
        }
        // Clients alone get these.
        for other in ["MOVED 1 127.0.0.1:7000", "LOADING it loads", "ERR unknown"] {
            let error = RunError::of(other.as_bytes());
            assert_eq!(error, RunError::Other(other.into()));
        }
    }
}
