//! `WASM.SCHEDULE`: functions that are called by the clock.

mod add;
mod list;

pub use add::AddSchedule;

use crate::call::request::ReceiptOf;
use crate::commands::error::CommandError;
use crate::commands::grammar::names::without_entry;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, FunctionFilter, Scope};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

const ADD: &str = "ADD";
const DEL: &str = "DEL";
const LIST: &str = "LIST";

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.SCHEDULE",
    arity: -2,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Async,
    summary: "Calls a function by the clock, or shows and removes such schedules.",
    syntax: "ADD|DEL|LIST [id] [name[.entry]] [EVERY milliseconds] [AT unix-time-milliseconds] [CRON expression] [MISSED skip|once] [KEYS key …] [ARGS arg …]",
    parse,
};

/// A request on schedules.
#[derive(Clone, Debug)]
pub enum Schedules<'a> {
    /// Adds one.
    Add(Box<AddSchedule<'a>>),
    /// Removes the one of this id.
    Delete(&'a [u8]),
    /// Shows all.
    List,
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    const KNOWN: &[&str] = &[ADD, DEL, LIST];
    let command = spec.name;
    let is = |word: &str| argv[1].eq_ignore_ascii_case(word.as_bytes());
    let parsed = match argv {
        [_, _] if is(LIST) => Schedules::List,
        [_, _, id] if is(DEL) => Schedules::Delete(id),
        [_, _, _, _, ..] if is(ADD) => Schedules::Add(Box::new(add::read(spec, argv)?)),
        _ if KNOWN.iter().any(|word| is(word)) => return Err(spec.wrong_arity()),
        _ => {
            return Err(crate::commands::grammar::options::unknown(
                command, argv[1], KNOWN,
            ));
        }
    };
    Ok(Command::Schedules(parsed))
}

impl Schedules<'_> {
    /// Returns the name of the function that the request names, if it names one.
    pub(in crate::commands) fn function(&self) -> Option<&[u8]> {
        match self {
            Self::Add(add) => Some(add.function_name()),
            Self::Delete(_) | Self::List => None,
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
            Self::Delete(id) => {
                let receipt = runtime.remove_schedule(id, |schedule| {
                    may_use(scope.functions, &schedule.function.0)
                })?;
                reply.ok();
                Ok(Some(receipt))
            }
            Self::List => {
                list::write(runtime, scope.functions, reply);
                Ok(None)
            }
        }
    }
}

/// Returns true if a user may use the function of a schedule, which may name an entry.
fn may_use(functions: FunctionFilter<'_>, function: &[u8]) -> bool {
    functions.allows(without_entry(function))
}
