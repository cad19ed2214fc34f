//! Times to live of single fields of a hash.

use crate::commands::arguments::integer;
use crate::commands::hashes::{WRONG_NUMBER, named_fields, tell_values};
use crate::commands::keys::expiry::{Conditions, TimeUnit, to_seconds};
use crate::commands::spec::{
    Answer, Argv, BLIND, DENYOOM, FAST, Keys, Out, READONLY, WRITE, commands,
};
use crate::error::StoreError;
use crate::execution::edit::Edit;
use crate::execution::view::{Missing, View};
use crate::value::Hash;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use ferrite_protocol::budget::lookups;
use ferrite_protocol::keyspace::SetCondition;

commands! {
    "hexpire", -6, WRITE | FAST | BLIND, Keys::FIRST => hexpire,
        "hash", "key seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets how long fields of a hash live.";
    "hpexpire", -6, WRITE | FAST | BLIND, Keys::FIRST => hpexpire,
        "hash", "key milliseconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets how long fields of a hash live, in milliseconds.";
    "hexpireat", -6, WRITE | FAST | BLIND, Keys::FIRST => hexpireat,
        "hash", "key unix-time-seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets when fields of a hash expire.";
    "hpexpireat", -6, WRITE | FAST | BLIND, Keys::FIRST => hpexpireat,
        "hash", "key unix-time-milliseconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets when fields of a hash expire, in milliseconds.";
    "httl", -5, READONLY | FAST, Keys::FIRST => httl,
        "hash", "key FIELDS numfields field [field ...]",
        "Tells how long fields of a hash have to live.";
    "hpttl", -5, READONLY | FAST, Keys::FIRST => hpttl,
        "hash", "key FIELDS numfields field [field ...]",
        "Tells how long fields of a hash have to live, in milliseconds.";
    "hexpiretime", -5, READONLY | FAST, Keys::FIRST => hexpiretime,
        "hash", "key FIELDS numfields field [field ...]",
        "Tells when fields of a hash expire.";
    "hpexpiretime", -5, READONLY | FAST, Keys::FIRST => hpexpiretime,
        "hash", "key FIELDS numfields field [field ...]",
        "Tells when fields of a hash expire, in milliseconds.";
    "hpersist", -5, WRITE | FAST | BLIND, Keys::FIRST => hpersist,
        "hash", "key FIELDS numfields field [field ...]",
        "Lets fields of a hash live for good.";
    "hgetex", -5, WRITE | FAST, Keys::FIRST => hgetex,
        "hash", "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST] FIELDS numfields field [field ...]",
        "Returns fields of a hash and sets when they expire.";
    "hsetex", -6, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => hsetex,
        "hash", "key [NX|XX] [FNX|FXX] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL] FIELDS numfields field value [field value ...]",
        "Writes fields of a hash that expire.";
}

/// A field that does not exist.
const NO_FIELD: i64 = -2;
/// A field without a deadline.
const NO_DEADLINE: i64 = -1;

/// Options, and the fields from the word `FIELDS` on.
type Parts<'a, 'b> = (&'b [&'a [u8]], &'b [&'a [u8]]);

/// Splits the arguments after a key. Without the word there are no fields, whatever the options are.
fn split<'a, 'b>(argv: &'b [&'a [u8]]) -> Result<Parts<'a, 'b>, StoreError> {
    let mut words = argv[..argv.len() - 1].iter();
    let at = words.position(|word| word.eq_ignore_ascii_case(b"fields"));
    Ok(argv.split_at(at.ok_or(WRONG_NUMBER)?))
}

/// Reads the time of a field, which may be now but not lie before the epoch.
fn deadline<V: View>(
    view: &mut V,
    command: &'static str,
    unit: TimeUnit,
    text: &[u8],
) -> Result<Deadline, StoreError> {
    let amount = integer(text)?;
    if amount < 0 {
        return Err(StoreError::InvalidExpire(command));
    }
    unit.instant(amount, || view.now())
        .map(Deadline::at)
        .ok_or(StoreError::InvalidExpire(command))
}

/// Gives a field that exists a deadline, or removes the field if that has passed.
fn end_field(hash: &mut Edit<'_, Hash>, field: &[u8], deadline: Deadline, now: i64) -> bool {
    let passed = deadline.is_reached(now);
    if passed {
        hash.remove(field);
    } else {
        hash.set_deadline(field, deadline);
    }
    passed
}

fn tell(numbers: &[i64], out: Out<'_>) -> Answer {
    out.array(numbers.len());
    numbers.iter().for_each(|number| out.int(*number));
    Ok(())
}

fn expire<V: View>(
    view: &mut V,
    command: &'static str,
    unit: TimeUnit,
    argv: Argv<'_>,
    out: Out<'_>,
) -> Answer {
    out.charge(2 * lookups(argv.len()))?;
    let (options, fields) = split(&argv[3..])?;
    let conditions = Conditions::parse(options)?;
    let fields = named_fields(fields)?;
    let deadline = deadline(view, command, unit, argv[2])?;
    let now = view.now();
    let results = view.update::<Hash, _>(argv[1], Missing::Skip, |hash| {
        let set = |field: &&[u8]| {
            if !hash.contains(field) {
                NO_FIELD
            } else if !conditions.hold(hash.deadline(field), deadline) {
                0
            } else if end_field(hash, field, deadline, now) {
                2
            } else {
                1
            }
        };
        Ok(fields.iter().map(set).collect::<Vec<_>>())
    })?;
    let results = results.unwrap_or_else(|| vec![NO_FIELD; fields.len()]);
    tell(&results, out)
}

fn hexpire<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire(view, "hexpire", TimeUnit::Seconds, argv, out)
}

fn hpexpire<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire(view, "hpexpire", TimeUnit::Millis, argv, out)
}

fn hexpireat<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire(view, "hexpireat", TimeUnit::AtSeconds, argv, out)
}

fn hpexpireat<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire(view, "hpexpireat", TimeUnit::AtMillis, argv, out)
}

fn tell_deadlines<V: View>(
    view: &mut V,
    argv: Argv<'_>,
    out: Out<'_>,
    tell_one: impl Fn(i64, i64) -> i64,
) -> Answer {
    // A wrong number of fields is told in other words by these commands.
    let fields = named_fields(&argv[2..]).map_err(|error| match error {
        StoreError::Refused(_) => StoreError::Syntax,
        error => error,
    })?;
    out.charge(2 * lookups(argv.len()))?;
    let now = view.now();
    let hash = view.read::<Hash>(argv[1])?;
    let of = |field: &&[u8]| match hash.filter(|hash| hash.contains(field)) {
        None => NO_FIELD,
        Some(hash) => match hash.deadline(field).millis() {
            None => NO_DEADLINE,
            Some(millis) => tell_one(millis, now),
        },
    };
    tell(&fields.iter().map(of).collect::<Vec<_>>(), out)
}

fn httl<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadlines(view, argv, out, |deadline, now| {
        to_seconds((deadline - now).max(0))
    })
}

fn hpttl<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadlines(view, argv, out, |deadline, now| (deadline - now).max(0))
}

fn hexpiretime<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadlines(view, argv, out, |deadline, _| to_seconds(deadline))
}

fn hpexpiretime<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadlines(view, argv, out, |deadline, _| deadline)
}

fn hpersist<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(2 * lookups(argv.len()))?;
    let fields = named_fields(&argv[2..])?;
    let results = view.update::<Hash, _>(argv[1], Missing::Skip, |hash| {
        let persist = |field: &&[u8]| {
            if !hash.contains(field) {
                NO_FIELD
            } else if hash.deadline(field).is_never() {
                NO_DEADLINE
            } else {
                hash.set_deadline(field, Deadline::NEVER);
                1
            }
        };
        Ok(fields.iter().map(persist).collect::<Vec<_>>())
    })?;
    let results = results.unwrap_or_else(|| vec![NO_FIELD; fields.len()]);
    tell(&results, out)
}

/// The options of `HGETEX` and `HSETEX`.
struct Options<'a> {
    on_key: SetCondition,
    on_fields: SetCondition,
    time: Option<(TimeUnit, &'a [u8])>,
    /// `PERSIST` or `KEEPTTL`.
    other_time: bool,
}

impl<'a> Options<'a> {
    fn parse(argv: &[&'a [u8]], setting: bool) -> Result<Self, StoreError> {
        let mut options = Self {
            on_key: SetCondition::Always,
            on_fields: SetCondition::Always,
            time: None,
            other_time: false,
        };
        let mut rest = argv.iter();
        while let Some(option) = rest.next() {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            let (condition, wanted) = match () {
                () if is(b"nx") => (&mut options.on_key, SetCondition::IfAbsent),
                () if is(b"xx") => (&mut options.on_key, SetCondition::IfPresent),
                () if is(b"fnx") => (&mut options.on_fields, SetCondition::IfAbsent),
                () if is(b"fxx") => (&mut options.on_fields, SetCondition::IfPresent),
                () => {
                    let timed = options.time.is_some() || options.other_time;
                    let word: &[u8] = if setting { b"keepttl" } else { b"persist" };
                    if is(word) && options.time.is_none() {
                        options.other_time = true;
                    } else if let (Some(unit), false) = (TimeUnit::option(option), timed) {
                        options.time = Some((unit, *rest.next().ok_or(StoreError::Syntax)?));
                    } else {
                        return Err(StoreError::Syntax);
                    }
                    continue;
                }
            };
            let contradicts = *condition != SetCondition::Always && *condition != wanted;
            if !setting || contradicts {
                return Err(StoreError::Syntax);
            }
            *condition = wanted;
        }
        Ok(options)
    }
}

fn hgetex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(2 * lookups(argv.len()))?;
    let (options, fields) = split(&argv[2..])?;
    let options = Options::parse(options, false)?;
    let fields = named_fields(fields)?;
    view.read::<Hash>(argv[1])?;
    let deadline = match options.time {
        Some((unit, text)) => Some(deadline(view, "hgetex", unit, text)?),
        None => options.other_time.then_some(Deadline::NEVER),
    };
    let now = view.now();
    let values = view.update::<Hash, _>(argv[1], Missing::Skip, |hash| {
        let values = fields.iter().map(|field| {
            let value = hash.get(field).cloned();
            if let (Some(deadline), Some(_)) = (deadline, &value) {
                end_field(hash, field, deadline, now);
            }
            value
        });
        Ok(values.collect::<Vec<_>>())
    })?;
    tell_values(values, fields.len(), out)
}

fn hsetex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(2 * lookups(argv.len()))?;
    let (options, fields) = split(&argv[2..])?;
    let options = Options::parse(options, true)?;
    let pairs = named_pairs(fields)?;
    let hash = view.read::<Hash>(argv[1])?;
    let mut fields = pairs.iter().map(|(field, _)| field);
    let fields_allow = match (options.on_fields, hash) {
        (SetCondition::Always, _) | (SetCondition::IfAbsent, None) => true,
        (SetCondition::IfPresent, None) => false,
        (SetCondition::IfAbsent, Some(hash)) => !fields.any(|field| hash.contains(field)),
        (SetCondition::IfPresent, Some(hash)) => fields.all(|field| hash.contains(field)),
    };
    let key_allows = match options.on_key {
        SetCondition::Always => true,
        SetCondition::IfAbsent => hash.is_none(),
        SetCondition::IfPresent => hash.is_some(),
    };
    if !key_allows {
        out.int(0);
        return Ok(());
    }
    let deadline = match options.time {
        Some((unit, text)) => deadline(view, "hsetex", unit, text)?,
        None => Deadline::NEVER,
    };
    if !fields_allow {
        out.int(0);
        return Ok(());
    }
    let now = view.now();
    view.update::<Hash, _>(argv[1], Missing::Create, |hash| {
        for (field, value) in &pairs {
            if deadline.is_reached(now) {
                hash.remove(field);
            } else if options.other_time {
                hash.insert_keeping_deadline(field, Blob::new(value));
            } else {
                hash.insert(field, Blob::new(value));
                if !deadline.is_never() {
                    hash.set_deadline(field, deadline);
                }
            }
        }
        Ok(())
    })?;
    out.int(1);
    Ok(())
}

/// A field and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Reads `FIELDS numfields field value [field value ...]` at the end of a request.
fn named_pairs<'a>(argv: &[&'a [u8]]) -> Result<Vec<Pair<'a>>, StoreError> {
    let [_, count, pairs @ ..] = argv else {
        return Err(WRONG_NUMBER);
    };
    let count = integer(count)?;
    let (pairs, rest) = pairs.as_chunks::<2>();
    if count == pairs.len() as i64 && count > 0 && rest.is_empty() {
        Ok(pairs
            .iter()
            .map(|[field, value]| (*field, *value))
            .collect())
    } else {
        Err(WRONG_NUMBER)
    }
}
