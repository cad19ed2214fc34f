//! `WASM.TRIGGER`: functions that are called because of what happens to keys.

mod add;
mod show;

pub use add::AddTrigger;

use crate::call::request::ReceiptOf;
use crate::commands::error::CommandError;
use crate::commands::grammar::options::unknown;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, Scope};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

const ADD: &str = "ADD";
const DEL: &str = "DEL";
const LIST: &str = "LIST";
const INFO: &str = "INFO";
const RETRY: &str = "RETRY";

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.TRIGGER",
    arity: -2,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Async,
    summary: "Calls a function before or after events of keys take effect, or shows and removes such triggers.",
    syntax: "ADD|DEL|LIST|INFO|RETRY [trigger] [name[.entry]] [KEYS pattern …] [EVENTS event …] [BEFORE|AFTER]",
    parse,
};

/// A request on triggers.
#[derive(Clone, Debug)]
pub enum Triggers<'a> {
    /// Adds one.
    Add(Box<AddTrigger<'a>>),
    /// Removes the one of this name.
    Delete(&'a [u8]),
    /// Shows all.
    List,
    /// Shows the one of this name with its figures.
    Info(&'a [u8]),
    /// Queues the events of the one of this name that were given up again.
    Retry(&'a [u8]),
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    const KNOWN: &[&str] = &[ADD, DEL, LIST, INFO, RETRY];
    let command = spec.name;
    let is = |word: &str| argv[1].eq_ignore_ascii_case(word.as_bytes());
    let parsed = match argv {
        [_, _] if is(LIST) => Triggers::List,
        [_, _, name] if is(DEL) => Triggers::Delete(name),
        [_, _, name] if is(INFO) => Triggers::Info(name),
        [_, _, name] if is(RETRY) => Triggers::Retry(name),
        [_, _, _, _, ..] if is(ADD) => Triggers::Add(Box::new(add::read(spec, argv)?)),
        _ if KNOWN.iter().any(|word| is(word)) => return Err(spec.wrong_arity()),
        _ => return Err(unknown(command, argv[1], KNOWN)),
    };
    Ok(Command::Triggers(parsed))
}

impl Triggers<'_> {
    /// Returns the name of the function that the request names, if it names one.
    pub(in crate::commands) fn function(&self) -> Option<&[u8]> {
        match self {
            Self::Add(add) => Some(add.function_name()),
            Self::Delete(_) | Self::List | Self::Info(_) | Self::Retry(_) => None,
        }
    }

    /// Runs it, and returns the receipt to wait for, if it changed anything.
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        scope: Scope<'_>,
        reply: &mut Encoder,
    ) -> Result<Option<ReceiptOf<K>>, CallError> {
        match self {
            Self::Add(add) => {
                let receipt = add.run(runtime, scope.database)?;
                reply.ok();
                Ok(Some(receipt))
            }
            Self::Delete(name) => {
                show::allowed(runtime, scope.functions, name)?;
                let receipt = runtime.remove_trigger(name)?;
                reply.ok();
                Ok(Some(receipt))
            }
            Self::Retry(name) => {
                show::allowed(runtime, scope.functions, name)?;
                let (count, receipt) = runtime.retry_dead(name)?;
                reply.count(count as u64);
                Ok(Some(receipt))
            }
            Self::List => {
                show::list(runtime, scope.functions, reply);
                Ok(None)
            }
            Self::Info(name) => {
                show::info(runtime, scope.functions, name, reply)?;
                Ok(None)
            }
        }
    }
}
