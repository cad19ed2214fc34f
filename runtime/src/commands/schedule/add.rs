//! `WASM.SCHEDULE ADD`: adds a schedule.

use crate::automation::bytes::Bytes;
use crate::automation::clock::now_millis;
use crate::automation::schedule::record::Schedule;
use crate::automation::schedule::when::{Missed, When};
use crate::call::request::ReceiptOf;
use crate::commands::error::CommandError;
use crate::commands::grammar::names::{name_like_functions, without_entry};
use crate::commands::grammar::options::{Options, time, unknown};
use crate::commands::grammar::sections::Sections;
use crate::commands::spec::Spec;
use crate::error::{CallError, Quoted};
use crate::registry::record::FunctionName;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::number::parse_integer;

const EVERY: &str = "EVERY";
const AT: &str = "AT";
const CRON: &str = "CRON";
const MISSED: &str = "MISSED";

/// Words that begin the keys and arguments of the call.
const SECTIONS: [&str; 2] = ["KEYS", "ARGS"];

/// Most bytes of keys and arguments.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Request to add a schedule.
#[derive(Clone, Debug)]
pub struct AddSchedule<'a> {
    id: FunctionName,
    function: &'a [u8],
    when: WhenAsked<'a>,
    missed: Missed,
    keys: &'a [&'a [u8]],
    args: &'a [&'a [u8]],
}

/// The due times as they were asked for.
#[derive(Clone, Debug)]
enum WhenAsked<'a> {
    Checked(When),
    /// An expression, which is checked against the time of day.
    Cron(&'a [u8]),
}

pub(super) fn read<'a>(
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
) -> Result<AddSchedule<'a>, CommandError> {
    const FIRST: usize = 4;
    let command = spec.name;
    let id = name_like_functions(argv[2], "schedule's id")?;
    let is_section = |word: &&[u8]| {
        SECTIONS
            .iter()
            .any(|section| word.eq_ignore_ascii_case(section.as_bytes()))
    };
    let end = argv[FIRST..].iter().position(is_section);
    let end = end.map_or(argv.len(), |length| FIRST + length);
    let (mut every, mut at, mut cron, mut missed) = (None, None, None, None);
    let mut options = Options::new(spec, &argv[..end], FIRST);
    while let Some(option) = options.next(&[EVERY, AT, CRON, MISSED, "KEYS", "ARGS"])? {
        match option {
            EVERY => options.value(EVERY, &mut every)?,
            AT => options.value(AT, &mut at)?,
            CRON => options.value(CRON, &mut cron)?,
            _ => options.value(MISSED, &mut missed)?,
        }
    }
    let when = match (every, at, cron) {
        (Some(every), None, None) => WhenAsked::Checked(When::every(time(command, EVERY, every)?)?),
        (None, Some(at), None) => {
            let millis = parse_integer(at).filter(|millis| *millis >= 0);
            WhenAsked::Checked(When::At(millis.ok_or_else(|| {
                CallError::invalid(format!(
                    "AT: {} is no time; write milliseconds since 1970, UTC",
                    Quoted(at)
                ))
            })?))
        }
        (None, None, Some(cron)) => WhenAsked::Cron(cron),
        _ => {
            let text =
                "give one of EVERY milliseconds, AT unix-time-milliseconds and CRON expression";
            return Err(CallError::invalid(text).into());
        }
    };
    let missed = match missed {
        None => Missed::default(),
        Some(word) => [Missed::Skip, Missed::Once]
            .into_iter()
            .find(|missed| word.eq_ignore_ascii_case(missed.as_str().as_bytes()))
            .ok_or_else(|| unknown(command, word, &["skip", "once"]))?,
    };
    let Sections { keys, args, .. } = Sections::read(spec, argv, end)?;
    let bytes: usize = argv[end..].iter().map(|word| word.len()).sum();
    if bytes > INPUT_BYTES_MAX {
        return Err(CallError::limit(format!(
            "the keys and arguments of a schedule have {bytes} bytes, the limit is {INPUT_BYTES_MAX}; let the function read what is long from a key"
        ))
        .into());
    }
    Ok(AddSchedule {
        id,
        function: argv[3],
        when,
        missed,
        keys: &argv[keys],
        args: &argv[args],
    })
}

impl AddSchedule<'_> {
    pub(super) fn function_name(&self) -> &[u8] {
        without_entry(self.function)
    }

    pub(super) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        database: u32,
    ) -> Result<ReceiptOf<K>, CallError> {
        let now = now_millis();
        let when = match self.when {
            WhenAsked::Checked(when) => when,
            WhenAsked::Cron(expression) => When::cron(expression, now)?,
        };
        let next = match (&when, self.missed) {
            (When::At(at), Missed::Once) => Some(*at),
            (when, _) => when.next_after(now, now),
        };
        if next.is_none() {
            return Err(CallError::invalid(
                "AT: this time has passed; give a later one, or MISSED once to call the function now",
            ));
        }
        runtime.add_schedule(Schedule {
            id: self.id,
            function: Bytes(self.function.into()),
            when,
            missed: self.missed,
            keys: Bytes::of(self.keys),
            args: Bytes::of(self.args),
            database,
            added: now,
            next,
            last: None,
            runs: 0,
            errors: 0,
            declared: false,
        })
    }
}
