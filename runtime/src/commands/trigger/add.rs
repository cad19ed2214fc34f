//! `WASM.TRIGGER ADD`: adds a trigger.

use crate::automation::bytes::Bytes;
use crate::automation::clock::now_millis;
use crate::automation::trigger::definition::{Phase, Trigger, WORDS_MAX, event_name};
use crate::call::request::ReceiptOf;
use crate::commands::error::CommandError;
use crate::commands::grammar::names::{name_like_functions, without_entry};
use crate::commands::grammar::options::unknown;
use crate::commands::spec::Spec;
use crate::error::CallError;
use crate::registry::record::FunctionName;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;

const KEYS: &str = "KEYS";
const EVENTS: &str = "EVENTS";
const BEFORE: &str = "BEFORE";
const AFTER: &str = "AFTER";

/// Request to add a trigger.
#[derive(Clone, Debug)]
pub struct AddTrigger<'a> {
    name: FunctionName,
    function: &'a [u8],
    keys: Vec<&'a [u8]>,
    events: Vec<Box<str>>,
    phase: Phase,
}

/// Reads `ADD trigger name[.entry] KEYS pattern … EVENTS event … [BEFORE|AFTER]`. A word that is a
/// pattern or an event cannot be one of these four.
pub(super) fn read<'a>(
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
) -> Result<AddTrigger<'a>, CommandError> {
    const FIRST: usize = 4;
    const KNOWN: &[&str] = &[KEYS, EVENTS, BEFORE, AFTER];
    let command = spec.name;
    let name = name_like_functions(argv[2], "trigger's name")?;
    let (mut keys, mut events) = (Vec::new(), Vec::new());
    let mut seen: Vec<&'static str> = Vec::new();
    for &word in argv.get(FIRST..).unwrap_or_default() {
        let option = KNOWN
            .iter()
            .find(|known| word.eq_ignore_ascii_case(known.as_bytes()));
        if let Some(&option) = option {
            if seen.contains(&option) {
                return Err(CommandError::Twice { command, option });
            }
            seen.push(option);
            continue;
        }
        match seen.last() {
            Some(&KEYS) => keys.push(word),
            Some(&EVENTS) => events.push(event_name(word)?),
            _ => return Err(unknown(command, word, KNOWN)),
        }
    }
    for (option, words) in [(KEYS, keys.len()), (EVENTS, events.len())] {
        if words == 0 {
            return Err(CommandError::NoValue { command, option });
        }
        if words > WORDS_MAX {
            return Err(CallError::limit(format!(
                "{option} has {words} words, the limit is {WORDS_MAX}; add several triggers"
            ))
            .into());
        }
    }
    if seen.contains(&BEFORE) && seen.contains(&AFTER) {
        return Err(CallError::invalid("give BEFORE or AFTER, not both").into());
    }
    let phase = if seen.contains(&BEFORE) {
        Phase::Before
    } else {
        Phase::After
    };
    Ok(AddTrigger {
        name,
        function: argv[3],
        keys,
        events,
        phase,
    })
}

impl AddTrigger<'_> {
    pub(super) fn function_name(&self) -> &[u8] {
        without_entry(self.function)
    }

    pub(super) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        database: u32,
    ) -> Result<ReceiptOf<K>, CallError> {
        runtime.add_trigger(Trigger {
            name: self.name,
            function: Bytes(self.function.into()),
            keys: Bytes::of(&self.keys),
            events: self.events,
            phase: self.phase,
            database,
            added: now_millis(),
            declared: false,
        })
    }
}
