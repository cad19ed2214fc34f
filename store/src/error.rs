//! The errors of data operations, with the texts of Redis.

use ferrite_protocol::budget::Exceeded;
use ferrite_protocol::keyspace;
use thiserror::Error;

/// Reason why a command or a typed operation was refused.
///
/// `Display` is the RESP error line without the leading `-`: a code, a space, a sentence. Texts
/// are those of Valkey, byte for byte, because client libraries match on them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The key holds another type than the operation needs.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// A string value or an argument is not a 64-bit signed integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// A string value or an argument is not a floating-point number.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// An increment would leave the range of a 64-bit signed integer.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// The arguments do not follow the command's grammar.
    #[error("ERR syntax error")]
    Syntax,
    /// The key must exist and does not.
    #[error("ERR no such key")]
    NoSuchKey,
    /// An index lies outside the value.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// A string would grow beyond `Limits::string_bytes_max`.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A time to live that cannot be an instant, with the name of the command.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// Too few or too many arguments, with the lower-case name of the command.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(Box<str>),
    /// A command that the store does not have; the whole text.
    #[error("{0}")]
    UnknownCommand(Box<str>),
    /// Any other refusal that has a fixed text.
    #[error("{0}")]
    Refused(&'static str),
    /// Any other refusal whose text contains a part of the request.
    #[error("{0}")]
    RefusedWith(Box<str>),
    /// A write in a read-only transaction or session.
    #[error("READONLY You can't write against a read only transaction.")]
    ReadOnly,
    /// Another transaction changed data that this one has read: roll back and run it again.
    #[error("CONFLICT the transaction read data that another one has changed since; run it again")]
    Conflict,
    /// The process uses as much memory as it may, and the command may need more.
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// The command has used up its budget, or its call is to end.
    #[error("LIMIT {0}")]
    Exceeded(#[from] Exceeded),
    /// The disk does not take writes at present; reads go on. The text names the cause.
    #[error("MISCONF Errors writing to the AOF file: {0}")]
    Unwritable(Box<str>),
}

impl StoreError {
    /// An error line with a computed text.
    pub(crate) fn with(text: impl Into<Box<str>>) -> Self {
        Self::RefusedWith(text.into())
    }
}

impl From<StoreError> for keyspace::StoreError {
    #[cold]
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::WrongType => Self::WrongType,
            StoreError::NotAnInteger | StoreError::NotAFloat => Self::NotAnInteger,
            StoreError::Overflow => Self::Overflow,
            StoreError::InvalidExpire(_) => Self::OutOfRange {
                what: "the time to live",
            },
            StoreError::StringTooLong => Self::OutOfRange {
                what: "the value's length",
            },
            StoreError::Conflict => Self::Conflict,
            StoreError::OutOfMemory => Self::OutOfMemory,
            error => Self::Failed(error.to_string().into()),
        }
    }
}
