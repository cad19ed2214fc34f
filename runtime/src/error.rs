//! The error of a call: a code that programs match and a text that tells people what to do.

use std::fmt;
use std::time::Duration;

use ferrite_protocol::keyspace::StoreError;

/// The code of an error: the first word of the error reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// No function or entry has this name.
    NoFunction,
    /// A function of this name is loaded already.
    Exists,
    /// The permissions refuse it.
    NoPermission,
    /// The call exceeded its time limit.
    Timeout,
    /// The call used up its fuel.
    Fuel,
    /// The guest exceeded its memory limit.
    Memory,
    /// The guest's calls nested too deep for its stack.
    Stack,
    /// The guest did something that WebAssembly or the ABI forbids.
    Trap,
    /// No native code for this machine exists, and no compiler can make it.
    NoArtifact,
    /// A signature is missing, wrong, or made by an unknown key.
    BadSignature,
    /// An argument, a module or a reply is invalid.
    Invalid,
    /// The server is too busy; the same call may succeed later.
    Busy,
    /// The call was killed.
    Killed,
    /// Another limit, without a code of its own, was exceeded.
    Limit,
    /// The keyspace failed.
    Store,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 15] = [
        Self::NoFunction,
        Self::Exists,
        Self::NoPermission,
        Self::Timeout,
        Self::Fuel,
        Self::Memory,
        Self::Stack,
        Self::Trap,
        Self::NoArtifact,
        Self::BadSignature,
        Self::Invalid,
        Self::Busy,
        Self::Killed,
        Self::Limit,
        Self::Store,
    ];

    /// Returns the word in the reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoFunction => "NOFUNC",
            Self::Exists => "EXISTS",
            Self::NoPermission => "NOPERM",
            Self::Timeout => "TIMEOUT",
            Self::Fuel => "FUEL",
            Self::Memory => "MEMORY",
            Self::Stack => "STACK",
            Self::Trap => "TRAP",
            Self::NoArtifact => "NOARTIFACT",
            Self::BadSignature => "BADSIG",
            Self::Invalid => "INVALID",
            Self::Busy => "BUSY",
            Self::Killed => "KILLED",
            Self::Limit => "LIMIT",
            Self::Store => "STORE",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Reason why a call, a load or another command failed. One word wide.
///
/// Its text, `CODE what was wrong; what to do`, is the error reply, without line breaks.
#[derive(Clone, PartialEq, Eq)]
pub struct CallError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    code: Code,
    text: Box<str>,
}

impl CallError {
    /// Creates an error. Control characters in the text become blanks.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.contains(char::is_control) {
            text = text.replace(char::is_control, " ");
        }
        Self(Box::new(Inner {
            code,
            text: text.into_boxed_str(),
        }))
    }

    /// The error for what the host's store cannot read or change at present.
    pub(crate) fn of_store(error: &StoreError) -> Self {
        Self::new(Code::Store, error.to_string())
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Returns the text after the code.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// `NOFUNC`: no function of this name is loaded.
    #[must_use]
    pub fn no_function(name: &[u8]) -> Self {
        // No function's name has a dot.
        let advice = match name.iter().position(|&byte| byte == b'.') {
            Some(dot) => format!("give its name without an entry, {}", Quoted(&name[..dot])),
            None => "WASM.LIST shows what is loaded, WASM.LOAD loads it".to_owned(),
        };
        Self::new(
            Code::NoFunction,
            format!("no function {}; {advice}", Quoted(name)),
        )
    }

    /// `NOFUNC`: the function has no such entry, or several and none was named.
    #[must_use]
    pub fn no_entry<'a>(
        function: &str,
        entry: Option<&[u8]>,
        entries: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut list = String::new();
        for name in entries.into_iter().take(16) {
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.push_str(name);
        }
        let text = match entry {
            Some(entry) => format!(
                "function \"{function}\" has no entry {}; it has: {list}",
                Quoted(entry)
            ),
            None => format!(
                "function \"{function}\" has several entries; name one as {function}.ENTRY: {list}"
            ),
        };
        Self::new(Code::NoFunction, text)
    }

    /// `EXISTS`: a function of this name is loaded and `REPLACE` was not given.
    #[must_use]
    pub fn exists(name: &str) -> Self {
        Self::new(
            Code::Exists,
            format!("function \"{name}\" is loaded; add REPLACE or use WASM.RELOAD"),
        )
    }

    /// `TIMEOUT`: the call ran longer than its limit.
    #[must_use]
    pub fn timeout(limit: Duration, elapsed: Duration) -> Self {
        Self::new(
            Code::Timeout,
            format!(
                "the call was ended after {} ms, its limit is {} ms; raise max_time or TIMEOUT, or do less in one call",
                elapsed.as_millis(),
                limit.as_millis()
            ),
        )
    }

    /// `TIMEOUT`: what the call wrote cannot be committed within its limit.
    #[must_use]
    pub fn commit_too_late(limit: Duration, elapsed: Duration, needed: Duration) -> Self {
        Self::new(
            Code::Timeout,
            format!(
                "the call was ended after {} ms, because committing what it wrote can take {} ms and its limit is {} ms; raise max_time or TIMEOUT, or write less in one call",
                elapsed.as_millis(),
                needed.as_millis(),
                limit.as_millis()
            ),
        )
    }

    /// `FUEL`: the call used up its fuel.
    #[must_use]
    pub fn fuel(limit: u64) -> Self {
        Self::new(
            Code::Fuel,
            format!(
                "the call used up its {limit} units of fuel; raise max_fuel, or do less in one call"
            ),
        )
    }

    /// `KILLED`: the call was killed.
    #[must_use]
    pub fn killed() -> Self {
        Self::new(
            Code::Killed,
            "the call was ended by WASM.KILL or because its client went away; nothing of it was kept",
        )
    }

    /// `MEMORY`: the guest tried to grow its memory past the limit.
    #[must_use]
    pub fn memory(limit_bytes: u64, wanted_bytes: u64) -> Self {
        Self::new(
            Code::Memory,
            format!(
                "the function wanted {wanted_bytes} bytes of memory, its limit is {limit_bytes}; raise max_memory, or use less"
            ),
        )
    }

    /// `BUSY`: the function's limits of running and waiting calls are reached.
    #[must_use]
    pub fn busy(function: &str, running_max: usize, waiting_max: usize) -> Self {
        Self::new(
            Code::Busy,
            format!(
                "{running_max} calls of function \"{function}\" are running and {waiting_max} are waiting, which is the limit; try again later, or raise max_instances"
            ),
        )
    }

    /// `BUSY`: the user's calls of the function have its share, and as many wait as may.
    #[must_use]
    pub fn user_busy(user: &str, function: &str, running: usize, waiting_max: usize) -> Self {
        Self::new(
            Code::Busy,
            format!(
                "user \"{user}\" has its share of the calls of function \"{function}\" running ({running}), and {waiting_max} are waiting, which is the limit; try again later, or raise max_instances"
            ),
        )
    }

    /// `BUSY`: the engine has no room for another instance of any function.
    #[must_use]
    pub fn engine_full() -> Self {
        Self::new(
            Code::Busy,
            "as many instances exist as the engine has room for; try again later, or raise the engine's number of instances",
        )
    }

    /// `BUSY`: few instances are left, and the function's calls have their share of them.
    #[must_use]
    pub fn share_used(function: &str, share: usize) -> Self {
        Self::new(
            Code::Busy,
            format!(
                "few instances are left, and function \"{function}\" has more than its share of {share} running calls; try again later, or raise the engine's number of instances"
            ),
        )
    }

    /// `BUSY`: few instances are left, and both the user's calls and the function's have their share.
    #[must_use]
    pub fn user_share_used(
        user: &str,
        user_share: usize,
        function: &str,
        function_share: usize,
    ) -> Self {
        Self::new(
            Code::Busy,
            format!(
                "few instances are left, user \"{user}\" has more than its share of {user_share} running calls, and function \"{function}\" more than its share of {function_share}; try again later, or raise the engine's number of instances"
            ),
        )
    }

    /// `INVALID`: an argument, a module or a reply is invalid.
    #[must_use]
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(Code::Invalid, text)
    }

    /// `LIMIT`: a limit without a code of its own was exceeded.
    #[must_use]
    pub fn limit(text: impl Into<String>) -> Self {
        Self::new(Code::Limit, text)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.0.code, self.0.text)
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CallError({self})")
    }
}

impl std::error::Error for CallError {}

/// An artifact that lacks an export that its manifest names.
#[derive(Debug, thiserror::Error)]
#[error("the artifact has no export {name}, which its manifest promises; compile it again")]
pub struct MissingExport {
    /// Name of the export.
    pub name: String,
}

/// Displays bytes from outside in an error text: quoted, escaped, at most the first 64.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 64;
        let shown = &self.0[..self.0.len().min(SHOWN_MAX)];
        write!(out, "\"{}\"", shown.escape_ascii())?;
        if self.0.len() > SHOWN_MAX {
            write!(out, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CallError, Code, Quoted};

    #[test]
    fn an_error_is_one_word_wide_and_one_line_long() {
        assert_eq!(size_of::<Result<(), CallError>>(), size_of::<usize>());
        let error = CallError::new(Code::Trap, "first\r\nsecond");
        assert_eq!(error.to_string(), "TRAP first  second");
    }

    #[test]
    fn codes_are_distinct_words() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_uppercase()));
            assert!(
                Code::ALL[..index]
                    .iter()
                    .all(|other| other.as_str() != code.as_str())
            );
        }
    }

    #[test]
    fn quoted_bytes_are_escaped_and_bounded() {
        assert_eq!(Quoted(b"a\n\"b\xff").to_string(), r#""a\n\"b\xff""#);
        assert!(Quoted(&[b'x'; 100]).to_string().ends_with("… (100 bytes)"));
    }
}
