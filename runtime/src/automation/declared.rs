//! Triggers and schedules that a module declares, and the definitions that are made of them.

use std::collections::{HashMap, HashSet};

use ferrite_cache::{Automation, DeclaredSchedule, DeclaredTime, DeclaredTrigger};

use super::bytes::Bytes;
use super::schedule::record::Schedule;
use super::schedule::when::{Missed, When};
use super::trigger::definition::{Phase, Trigger, event_name};
use crate::error::CallError;
use crate::policy::quantity::HumanDuration;
use crate::registry::record::{DeclaredAutomation, FunctionName};

/// A user's rights to add triggers and schedules; by default both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutomationRights {
    /// True if the user may add triggers.
    pub triggers: bool,
    /// True if the user may add schedules.
    pub schedules: bool,
}

impl Default for AutomationRights {
    fn default() -> Self {
        Self {
            triggers: true,
            schedules: true,
        }
    }
}

/// For whom declared triggers and schedules are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeclarationScope {
    /// The database of their keys and calls.
    pub database: u32,
    /// Rights of the user who loads the function.
    pub rights: AutomationRights,
}

/// Checks that a host could add these declarations for a function of some name.
///
/// # Errors
///
/// A pattern, an event or a time is wrong, or there are too many of them.
pub fn check(automation: &Automation) -> Result<(), CallError> {
    let name = FunctionName::parse(b"f").map_err(|error| CallError::invalid(error.to_string()))?;
    let automation = DeclaredAutomation {
        database: 0,
        declared: automation.clone(),
    };
    Definitions::of(&name, Some(&automation), super::clock::now_millis()).map(|_| ())
}

/// The definitions that a module's declarations become.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) schedules: Vec<Schedule>,
}

impl Definitions {
    /// Makes the definitions of what the module of a function declares, added at `now`.
    ///
    /// Each is named after the function and its entry; the second one of an entry has `:2` at the end of its
    /// name, and so on.
    pub(crate) fn of(
        function: &FunctionName,
        automation: Option<&DeclaredAutomation>,
        now: i64,
    ) -> Result<Self, CallError> {
        let Some(DeclaredAutomation { database, declared }) = automation else {
            return Ok(Self::default());
        };
        declared
            .check()
            .map_err(|error| CallError::limit(format!("the module's declarations: {error}")))?;
        let mut names = Names::default();
        let mut definitions = Self::default();
        for one in &declared.triggers {
            let name = names.next(function, &one.entry);
            let made = name.and_then(|name| trigger(name, function, one, *database, now));
            definitions
                .triggers
                .push(made.map_err(|error| within(one, &error))?);
        }
        let mut names = Names::default();
        for one in &declared.schedules {
            let name = names.next(function, &one.entry);
            let made = name.and_then(|name| schedule(name, function, one, *database, now));
            definitions
                .schedules
                .push(made.map_err(|error| within(one, &error))?);
        }
        Ok(definitions)
    }
}

/// Says which declaration an error is about.
pub(crate) fn within(declaration: &dyn std::fmt::Display, error: &CallError) -> CallError {
    let line: String = declaration.to_string().chars().take(120).collect();
    CallError::new(
        error.code(),
        format!(
            "the module declares '{}': {}",
            line.escape_debug(),
            error.text()
        ),
    )
}

/// Names for the declarations of one kind.
#[derive(Default)]
struct Names {
    /// Number of declarations of each entry.
    counts: HashMap<String, usize>,
    given: HashSet<String>,
}

impl Names {
    fn next(&mut self, function: &FunctionName, entry: &str) -> Result<FunctionName, CallError> {
        let count = self.counts.entry(entry.to_owned()).or_default();
        // Another entry may be called like that: `a:2` beside the second one of `a`.
        let name = loop {
            *count += 1;
            let name = match *count {
                1 => format!("{function}:{entry}"),
                count => format!("{function}:{entry}:{count}"),
            };
            if self.given.insert(name.clone()) {
                break name;
            }
        };
        FunctionName::parse(name.as_bytes()).map_err(|error| {
            let text = error.to_string().replace("function's name", "name for it");
            CallError::invalid(text)
        })
    }
}

fn target(function: &FunctionName, entry: &str) -> Bytes {
    Bytes(format!("{function}.{entry}").into_bytes().into())
}

fn words(words: &[String]) -> Vec<Bytes> {
    let words = words.iter().map(|word| Bytes(word.as_bytes().into()));
    words.collect()
}

fn trigger(
    name: FunctionName,
    function: &FunctionName,
    one: &DeclaredTrigger,
    database: u32,
    now: i64,
) -> Result<Trigger, CallError> {
    let events = one.events.iter().map(|event| event_name(event.as_bytes()));
    let trigger = Trigger {
        name,
        function: target(function, &one.entry),
        keys: words(&one.keys),
        events: events.collect::<Result<_, _>>()?,
        phase: if one.before {
            Phase::Before
        } else {
            Phase::After
        },
        database,
        added: now,
        declared: true,
    };
    trigger.globs()?;
    Ok(trigger)
}

fn schedule(
    id: FunctionName,
    function: &FunctionName,
    one: &DeclaredSchedule,
    database: u32,
    now: i64,
) -> Result<Schedule, CallError> {
    let when = match &one.when {
        DeclaredTime::Every(time) => {
            let HumanDuration(period) = time
                .parse::<HumanDuration>()
                .map_err(|error| CallError::invalid(format!("{error}")))?;
            When::every(period)?
        }
        DeclaredTime::Cron(expression) => When::cron(expression.as_bytes(), now)?,
    };
    Ok(Schedule {
        id,
        function: target(function, &one.entry),
        next: when.next_after(now, now),
        when,
        missed: if one.missed_once {
            Missed::Once
        } else {
            Missed::Skip
        },
        keys: words(&one.keys),
        args: words(&one.args),
        database,
        added: now,
        last: None,
        runs: 0,
        errors: 0,
        declared: true,
    })
}

#[cfg(test)]
mod tests {
    use ferrite_cache::Automation;

    use super::{Definitions, check};
    use crate::registry::record::{DeclaredAutomation, FunctionName};

    fn automation(text: &str) -> Automation {
        Automation::read(text.as_bytes()).expect(text)
    }

    #[test]
    fn each_gets_a_name_of_its_own() {
        let declared = automation(
            "on a KEYS x EVENTS set\non b KEYS x EVENTS set\non a KEYS y EVENTS set BEFORE\nevery a 5m",
        );
        let automation = DeclaredAutomation {
            database: 3,
            declared,
        };
        let name = FunctionName::parse(b"f").expect("a name");
        let made = Definitions::of(&name, Some(&automation), 1000).expect("definitions");
        let names: Vec<_> = made.triggers.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["f:a", "f:b", "f:a:2"]);
        assert_eq!(made.schedules[0].id.as_str(), "f:a");
        assert_eq!(made.schedules[0].next, Some(301_000));
        assert_eq!(
            (made.triggers[2].database, made.triggers[2].declared),
            (3, true)
        );
        assert_eq!(&*made.triggers[2].function.0, b"f.a");
    }

    #[test]
    fn an_entry_that_is_called_like_a_second_one_gets_another_name() {
        let lines = "every a 1m\nevery a 2m\nevery a:2 3m\nevery a:2 4m";
        let automation = DeclaredAutomation {
            database: 0,
            declared: automation(lines),
        };
        let name = FunctionName::parse(b"f").expect("a name");
        let made = Definitions::of(&name, Some(&automation), 1000).expect("definitions");
        let ids: Vec<_> = made.schedules.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["f:a", "f:a:2", "f:a:2:2", "f:a:2:3"]);
    }

    #[test]
    fn what_a_host_refuses_names_the_declaration() {
        for (text, expected) in [
            (
                "on a KEYS [ EVENTS set",
                "'on a KEYS [ EVENTS set': KEYS: pattern",
            ),
            (
                "on a KEYS x EVENTS a-b",
                "EVENTS: \"a-b\" is no name of an event",
            ),
            (
                "every a 5apples",
                "'every a 5apples': \"5apples\" is no time",
            ),
            ("every a 1ms", "EVERY must be at least 10 ms"),
            ("cron a \"61 * * * *\"", "is no expression of cron"),
            ("every a.b 5m", "the name for it \"f:a.b\" has '.'"),
        ] {
            let error = check(&automation(text)).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(check(&automation("on a KEYS * EVENTS *")), Ok(()));
    }
}
