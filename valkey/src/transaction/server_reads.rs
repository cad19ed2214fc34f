//! Reads the server's data: through the key interface if the command declared the key, or else by a
//! command.

use std::ffi::CStr;

use ferrite_protocol::budget::Budget;
use ferrite_protocol::keyspace::StoreError;
use smallvec::SmallVec;

use crate::api::command_call::{Format, ServerReply};
use crate::api::context::{Caller, Context};
use crate::api::key::{OpenKey, ValueKind};
use crate::api::string::{Borrowed, Owned};
use crate::transaction::call::Call;
use crate::transaction::cost::listing::Listing;
use crate::transaction::cost::random::RandomElements;
use crate::transaction::read_set::{ReadKind, hash_of, hash_result};
use crate::transaction::write_set::KeyRef;

/// The reply if the caller may not run a command.
const NO_PERMISSION: &[u8] =
    b"-NOPERM the caller has no permission to run the command on these keys\r\n";

/// The arguments of a command after its name.
pub(crate) type ArgStrings<'c> = SmallVec<[Owned<'c>; 6]>;

/// The server, for the reads of one call.
#[derive(Clone, Copy)]
pub(crate) struct Server<'s> {
    pub(crate) call: &'s Call,
    pub(crate) context: Context<'s>,
}

/// A key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lifetime {
    NoKey,
    Never,
    /// It expires at this time, in milliseconds since 1970.
    At(i64),
}

impl ReadKind {
    /// Does the read again. Returns the hash of its result, to compare with the hash of the first
    /// one.
    pub(crate) fn revalidate(&self, server: Server<'_>) -> u64 {
        match self {
            Self::String(key) => hash_result(&string(server, key, |bytes| hash_of(bytes))),
            Self::Exists(key) => hash_result(&exists(server, key)),
            Self::Lifetime(key) => hash_result(&lifetime(server, key)),
            Self::Field(key, name) => {
                hash_result(&field(server, key, name, |bytes| hash_of(bytes)))
            }
            Self::HasField(key, name) => hash_result(&has_field(server, key, name)),
            Self::Command(argv) => {
                command(server.context, &argv.words(), Format::Caller, |bytes| {
                    hash_of(bytes)
                })
                .unwrap_or(0)
            }
        }
    }
}

/// Reads the string at a key; `None` if there is no such key.
pub(crate) fn string<R>(
    server: Server<'_>,
    key: &KeyRef,
    read: impl FnOnce(&[u8]) -> R,
) -> Result<Option<R>, StoreError> {
    match key {
        KeyRef::Declared(_) => match open(server, key) {
            None => Ok(None),
            Some(open) => match open.kind() {
                ValueKind::String => Ok(open.string(read)),
                ValueKind::Nothing => Ok(None),
                ValueKind::Hash | ValueKind::Other => Err(StoreError::WrongType),
            },
        },
        KeyRef::Other(name) => {
            let reply = run_own(server, c"GET", &[name])?;
            Ok(reply.bulk().map(read))
        }
    }
}

/// Returns true if the key exists.
pub(crate) fn exists(server: Server<'_>, key: &KeyRef) -> Result<bool, StoreError> {
    match key {
        KeyRef::Declared(_) => Ok(open(server, key).is_some()),
        KeyRef::Other(name) => Ok(run_own(server, c"EXISTS", &[name])?.integer() == Some(1)),
    }
}

/// Returns a key's expiry.
pub(crate) fn lifetime(server: Server<'_>, key: &KeyRef) -> Result<Lifetime, StoreError> {
    match key {
        KeyRef::Declared(_) => Ok(match open(server, key) {
            None => Lifetime::NoKey,
            Some(open) => open.expires_at().map_or(Lifetime::Never, Lifetime::At),
        }),
        KeyRef::Other(name) => {
            let at = run_own(server, c"PEXPIRETIME", &[name])?.integer();
            Ok(match at {
                Some(at) if at >= 0 => Lifetime::At(at),
                Some(-1) => Lifetime::Never,
                _ => Lifetime::NoKey,
            })
        }
    }
}

/// Reads a field of the hash at a key; `None` if there is no such key or field.
pub(crate) fn field<R>(
    server: Server<'_>,
    key: &KeyRef,
    field: &[u8],
    read: impl FnOnce(&[u8]) -> R,
) -> Result<Option<R>, StoreError> {
    match key {
        KeyRef::Declared(_) => match open(server, key) {
            None => Ok(None),
            Some(open) => match open.kind() {
                ValueKind::Hash => {
                    let field = server.context.string(field);
                    let value = open.field(server.context, field.borrow());
                    Ok(value.map(|value| read(value.bytes())))
                }
                ValueKind::Nothing => Ok(None),
                ValueKind::String | ValueKind::Other => Err(StoreError::WrongType),
            },
        },
        KeyRef::Other(name) => {
            let reply = run_own(server, c"HGET", &[name, field])?;
            Ok(reply.bulk().map(read))
        }
    }
}

/// Returns true if the hash at a key has a field, and the number of its fields.
pub(crate) fn has_field(
    server: Server<'_>,
    key: &KeyRef,
    field: &[u8],
) -> Result<(bool, usize), StoreError> {
    match key {
        KeyRef::Declared(_) => match open(server, key) {
            None => Ok((false, 0)),
            Some(open) => match open.kind() {
                ValueKind::Hash => {
                    let field = server.context.string(field);
                    Ok((open.has_field(field.borrow()), open.len()))
                }
                ValueKind::Nothing => Ok((false, 0)),
                ValueKind::String | ValueKind::Other => Err(StoreError::WrongType),
            },
        },
        KeyRef::Other(name) => {
            let has = run_own(server, c"HEXISTS", &[name, field])?.integer() == Some(1);
            let len = run_own(server, c"HLEN", &[name])?.integer().unwrap_or(0);
            Ok((has, usize::try_from(len).unwrap_or(0)))
        }
    }
}

/// Runs a command and gives `read` its reply in RESP2. Returns `None` if the server would not run
/// it.
pub(crate) fn command<R>(
    context: Context<'_>,
    argv: &[&[u8]],
    format: Format,
    read: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    command_within(context, argv, format, None, read)
}

/// The same, within a budget: a command that lists names is charged while it runs, and the reply of one that
/// chooses elements with repetition ends when it is too long. Once the budget is exceeded, the reply is not
/// the whole one.
pub(crate) fn command_within<R>(
    context: Context<'_>,
    argv: &[&[u8]],
    format: Format,
    budget: Option<&Budget<'_>>,
    read: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    if let Some(random) = RandomElements::of(argv) {
        let reply = random.run(budget, |argv, take| {
            one_command(context, argv, format, |reply| take(reply))
        })?;
        return Some(read(&reply));
    }
    let Some(listing) = Listing::of(argv) else {
        return one_command(context, argv, format, read);
    };
    let mut format = format;
    if listing.is_keys() {
        // The user asks for this command, and gets what another one finds.
        let argv: Vec<Owned<'_>> = argv.iter().map(|word| context.string(word)).collect();
        let argv: Vec<Borrowed<'_>> = argv.iter().map(Owned::borrow).collect();
        if format.is_callers() && !context.may_caller_run(&argv) {
            return Some(read(NO_PERMISSION));
        }
        format = Format::Own;
    }
    let reply = listing.run(budget, |argv, take| {
        one_command(context, argv, format, |reply| take(reply))
    })?;
    Some(read(&reply))
}

/// Runs a command as it is, and gives `read` its reply in RESP2. Returns `None` if the server would not
/// run it.
pub(crate) fn one_command<R>(
    context: Context<'_>,
    argv: &[&[u8]],
    format: Format,
    read: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    let (name, words) = argv.split_first()?;
    let mut c_name: SmallVec<[u8; 32]> = SmallVec::from_slice(name);
    c_name.push(0);
    let c_name = CStr::from_bytes_with_nul(&c_name).ok()?;
    let words: ArgStrings<'_> = words.iter().map(|word| context.string(word)).collect();
    if format.is_callers() && !may_run(context, name, &words) {
        return Some(read(NO_PERMISSION));
    }
    let reply = context.call(c_name, format, &words)?;
    Some(read(reply.bytes()))
}

fn open<'s>(server: Server<'s>, key: &KeyRef) -> Option<OpenKey<'s>> {
    let name = server.call.string(server.context, key);
    server.context.open_to_read(name.borrow())
}

/// Returns true if the caller may run a command. On the main thread the server checks that itself,
/// when the command runs. Of a user who may do everything, the server is not asked for each command.
fn may_run(context: Context<'_>, name: &[u8], words: &[Owned<'_>]) -> bool {
    if context.caller() == Caller::OfContext || context.is_caller_unrestricted() {
        return true;
    }
    let name = context.string(name);
    let argv: Vec<Borrowed<'_>> = std::iter::once(&name)
        .chain(words)
        .map(Owned::borrow)
        .collect();
    context.may_run(&argv)
}

/// Runs a command that reads. What the caller may do was checked for the operation that needs it.
fn run_own<'s>(
    server: Server<'s>,
    name: &CStr,
    words: &[&[u8]],
) -> Result<ServerReply<'s>, StoreError> {
    let words: ArgStrings<'_> = words
        .iter()
        .map(|word| server.context.string(word))
        .collect();
    let reply = server
        .context
        .call(name, Format::Own, &words)
        .ok_or_else(|| StoreError::Failed("the server would not run the command".into()))?;
    if let Some(error) = reply.error() {
        return Err(store_error(error));
    }
    Ok(reply)
}

/// Returns the server's error in the form in which a function gets it.
pub(crate) fn store_error(text: &[u8]) -> StoreError {
    if text.starts_with(b"WRONGTYPE") {
        StoreError::WrongType
    } else {
        StoreError::Failed(String::from_utf8_lossy(text).into())
    }
}
