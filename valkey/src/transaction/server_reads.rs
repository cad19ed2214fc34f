//! Reads the server's data: through the key interface if the command declared the key, or else by a
//! command.

use std::ffi::CStr;

use ferrite_protocol::budget::Budget;
use ferrite_protocol::keyspace::StoreError;
use smallvec::SmallVec;

use crate::api::command_call::{Format, ServerReply};
use crate::api::context::{Caller, Context};
use crate::api::key::{OpenKey, ValueKind};
use crate::api::string::{Borrowed, Named, Owned};
use crate::transaction::call::{Call, CommandWords};
use crate::transaction::cost::listing::Listing;
use crate::transaction::cost::random::RandomElements;
use crate::transaction::read_set::{ReadKind, hash_of, hash_result};
use crate::transaction::write_set::KeyRef;

/// The reply if the caller may not run a command.
const NO_PERMISSION: &[u8] =
    b"-NOPERM the caller has no permission to run the command on these keys\r\n";

/// Words of a command that the module makes.
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
    let request = |argv: &[&[u8]]| Request::own(context, argv);
    in_steps(context, argv, format, None, request, read)
}

/// The same for a call, within a budget: a command that lists names is charged while it runs, and the reply of one
/// that chooses elements with repetition ends when it is too long. Once the budget is exceeded, the reply is not
/// the whole one.
pub(crate) fn command_within<R>(
    server: Server<'_>,
    argv: &[&[u8]],
    format: Format,
    budget: &Budget<'_>,
    read: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    let request = |argv: &[&[u8]]| Request::of_call(server, argv);
    in_steps(server.context, argv, format, Some(budget), request, read)
}

/// Runs a command as one `request`, or in steps if it would hold the server up.
fn in_steps<'c, R>(
    context: Context<'c>,
    argv: &[&[u8]],
    format: Format,
    budget: Option<&Budget<'_>>,
    request: impl FnOnce(&[&[u8]]) -> Option<Request<'c>>,
    read: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    if let Some(random) = RandomElements::of(argv) {
        let reply = random.run(budget, |argv, take| {
            Request::own(context, argv)?.run(format, |reply| take(reply))
        })?;
        return Some(read(&reply));
    }
    let Some(listing) = Listing::of(argv) else {
        return request(argv)?.run(format, read);
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
        Request::own(context, argv)?.run(format, |reply| take(reply))
    })?;
    Some(read(&reply))
}

/// A command with its words as strings of the server.
pub(crate) struct Request<'c> {
    context: Context<'c>,
    /// Ends with a zero byte.
    name: SmallVec<[u8; 32]>,
    /// The words after the name.
    pub(crate) words: CommandWords<'c>,
}

impl<'c> Request<'c> {
    /// A command of the module; `None` if it has no name.
    pub(crate) fn own(context: Context<'c>, argv: &[&[u8]]) -> Option<Self> {
        let words = |words: &[&[u8]]| {
            let own = words.iter().map(|word| Named::Own(context.string(word)));
            own.collect()
        };
        Self::new(context, argv, words)
    }

    /// A command of a call; `None` if it has no name.
    pub(crate) fn of_call(server: Server<'c>, argv: &[&[u8]]) -> Option<Self> {
        let words = |words: &[&[u8]]| server.call.words(server.context, words);
        Self::new(server.context, argv, words)
    }

    fn new(
        context: Context<'c>,
        argv: &[&[u8]],
        words: impl FnOnce(&[&[u8]]) -> CommandWords<'c>,
    ) -> Option<Self> {
        let (first, rest) = argv.split_first()?;
        let mut name = SmallVec::from_slice(first);
        name.push(0);
        Some(Self {
            context,
            name,
            words: words(rest),
        })
    }

    /// Runs the command as it is, and gives `read` its reply in RESP2. Returns `None` if the server would not
    /// run it.
    pub(crate) fn run<R>(&self, format: Format, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let name = CStr::from_bytes_with_nul(&self.name).ok()?;
        if format.is_callers() && !self.is_permitted() {
            return Some(read(NO_PERMISSION));
        }
        let reply = self.context.call(name, format, &self.words)?;
        Some(read(reply.bytes()))
    }

    /// Returns true if the caller may run the command. On the main thread the server checks that itself,
    /// when the command runs. Of a user who may do everything, the server is not asked for each command.
    fn is_permitted(&self) -> bool {
        let context = self.context;
        if context.caller() == Caller::OfContext || context.is_caller_unrestricted() {
            return true;
        }
        let name = context.string(self.name.strip_suffix(&[0]).unwrap_or(&self.name));
        let argv: Vec<Borrowed<'_>> = std::iter::once(name.borrow())
            .chain(self.words.iter().map(Named::borrow))
            .collect();
        context.may_run(&argv)
    }
}

fn open<'s>(server: Server<'s>, key: &KeyRef) -> Option<OpenKey<'s>> {
    let name = server.call.string(server.context, key);
    server.context.open_to_read(name.borrow())
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
