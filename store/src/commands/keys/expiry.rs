//! Times to live: `EXPIRE`, `TTL`, `PERSIST` and their relatives.

use crate::commands::arguments::integer;
use crate::commands::spec::{Answer, Argv, BLIND, FAST, Keys, Out, READONLY, WRITE, commands};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::deadline::Deadline;
use ferrite_protocol::resp::ReplyWriter;

commands! {
    "expire", -3, WRITE | FAST | BLIND, Keys::FIRST => expire,
        "generic", "key seconds [NX|XX|GT|LT]",
        "Sets how long a key lives.";
    "pexpire", -3, WRITE | FAST | BLIND, Keys::FIRST => pexpire,
        "generic", "key milliseconds [NX|XX|GT|LT]",
        "Sets how long a key lives, in milliseconds.";
    "expireat", -3, WRITE | FAST | BLIND, Keys::FIRST => expireat,
        "generic", "key unix-time-seconds [NX|XX|GT|LT]",
        "Sets when a key expires.";
    "pexpireat", -3, WRITE | FAST | BLIND, Keys::FIRST => pexpireat,
        "generic", "key unix-time-milliseconds [NX|XX|GT|LT]",
        "Sets when a key expires, in milliseconds.";
    "ttl", 2, READONLY | FAST, Keys::FIRST => ttl,
        "generic", "key",
        "Tells how long a key has to live.";
    "pttl", 2, READONLY | FAST, Keys::FIRST => pttl,
        "generic", "key",
        "Tells how long a key has to live, in milliseconds.";
    "expiretime", 2, READONLY | FAST, Keys::FIRST => expiretime,
        "generic", "key",
        "Tells when a key expires.";
    "pexpiretime", 2, READONLY | FAST, Keys::FIRST => pexpiretime,
        "generic", "key",
        "Tells when a key expires, in milliseconds.";
    "persist", 2, WRITE | FAST | BLIND, Keys::FIRST => persist,
        "generic", "key",
        "Lets a key live for good.";
}

/// Unit and origin of a time argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    /// From now.
    Seconds,
    Millis,
    /// Since the Unix epoch.
    AtSeconds,
    AtMillis,
}

impl TimeUnit {
    /// The unit of an option such as `EX`.
    pub(crate) fn option(name: &[u8]) -> Option<Self> {
        let is = |option: &[u8]| name.eq_ignore_ascii_case(option);
        if is(b"ex") {
            Some(Self::Seconds)
        } else if is(b"px") {
            Some(Self::Millis)
        } else if is(b"exat") {
            Some(Self::AtSeconds)
        } else if is(b"pxat") {
            Some(Self::AtMillis)
        } else {
            None
        }
    }

    /// The instant of an amount in this unit; `None` if it does not fit into 64 bits.
    pub(crate) fn instant(self, amount: i64, now: impl FnOnce() -> i64) -> Option<i64> {
        let millis = match self {
            Self::Seconds | Self::AtSeconds => amount.checked_mul(1000)?,
            Self::Millis | Self::AtMillis => amount,
        };
        match self {
            Self::Seconds | Self::Millis => millis.checked_add(now()),
            Self::AtSeconds | Self::AtMillis => Some(millis),
        }
    }
}

/// Reads the time of an option such as `EX`, which must be above zero.
pub(crate) fn deadline_argument<V: View>(
    view: &mut V,
    command: &'static str,
    unit: TimeUnit,
    text: &[u8],
) -> Result<Deadline, StoreError> {
    let amount = integer(text)?;
    if amount <= 0 {
        return Err(StoreError::InvalidExpire(command));
    }
    let instant = unit
        .instant(amount, || view.now())
        .ok_or(StoreError::InvalidExpire(command))?;
    Ok(deadline_of_new(instant, view.now()))
}

/// The deadline of a value that is put: one that is reached already has passed, because nothing is put
/// to end in the same millisecond.
pub(crate) fn deadline_of_new(instant: i64, now: i64) -> Deadline {
    if instant == now {
        return Deadline::at(instant.saturating_sub(1));
    }
    Deadline::at(instant)
}

/// Gives a key a deadline, or removes it if that has passed; returns true if the key existed.
pub(crate) fn end_at<V: View>(
    view: &mut V,
    key: &[u8],
    deadline: Deadline,
) -> Result<bool, StoreError> {
    if deadline.is_reached(view.now()) {
        view.remove(key)
    } else {
        view.set_deadline(key, deadline)
    }
}

/// The conditions of `EXPIRE`.
#[derive(Default)]
pub(crate) struct Conditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_earlier: bool,
}

impl Conditions {
    pub(crate) fn parse(options: &[&[u8]]) -> Result<Self, StoreError> {
        let mut conditions = Self::default();
        for option in options {
            let slot = match option.to_ascii_lowercase().as_slice() {
                b"nx" => &mut conditions.if_none,
                b"xx" => &mut conditions.if_some,
                b"gt" => &mut conditions.if_later,
                b"lt" => &mut conditions.if_earlier,
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return Err(StoreError::with(format!("ERR Unsupported option {option}")));
                }
            };
            *slot = true;
        }
        let others = conditions.if_some || conditions.if_later || conditions.if_earlier;
        if conditions.if_none && others {
            return Err(StoreError::Refused(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.if_later && conditions.if_earlier {
            return Err(StoreError::Refused(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// Returns true if the conditions hold. A key without a deadline counts as ending after every
    /// instant.
    pub(crate) fn hold(&self, old: Deadline, new: Deadline) -> bool {
        (!self.if_none || old.is_never())
            && (!self.if_some || !old.is_never())
            && (!self.if_later || new > old)
            && (!self.if_earlier || new < old)
    }
}

fn expire_by<V: View>(
    view: &mut V,
    command: &'static str,
    unit: TimeUnit,
    argv: &[&[u8]],
    out: &mut dyn ReplyWriter,
) -> Result<(), StoreError> {
    let conditions = Conditions::parse(&argv[3..])?;
    let amount = integer(argv[2])?;
    let instant = unit
        .instant(amount, || view.now())
        .ok_or(StoreError::InvalidExpire(command))?;
    let deadline = Deadline::at(instant);
    let old = view.deadline(argv[1])?;
    let set = match old {
        Some(old) if conditions.hold(old, deadline) => end_at(view, argv[1], deadline)?,
        _ => false,
    };
    out.int(i64::from(set));
    Ok(())
}

fn expire<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire_by(view, "expire", TimeUnit::Seconds, argv, out)
}

fn pexpire<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire_by(view, "pexpire", TimeUnit::Millis, argv, out)
}

fn expireat<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire_by(view, "expireat", TimeUnit::AtSeconds, argv, out)
}

fn pexpireat<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    expire_by(view, "pexpireat", TimeUnit::AtMillis, argv, out)
}

/// Writes -2 for no key, -1 for no deadline, otherwise `tell(deadline, now)`.
fn tell_deadline<V: View>(
    view: &mut V,
    key: &[u8],
    out: &mut dyn ReplyWriter,
    tell: impl FnOnce(i64, i64) -> i64,
) -> Result<(), StoreError> {
    let deadline = view.deadline(key)?.map(Deadline::millis);
    out.int(match deadline {
        None => -2,
        Some(None) => -1,
        Some(Some(millis)) => tell(millis, view.now()),
    });
    Ok(())
}

/// Rounds to the nearest second, as `TTL` and `EXPIRETIME` do.
pub(crate) fn to_seconds(millis: i64) -> i64 {
    millis / 1000 + i64::from(millis % 1000 >= 500)
}

fn ttl<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadline(view, argv[1], out, |deadline, now| {
        to_seconds((deadline - now).max(0))
    })
}

fn pttl<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadline(view, argv[1], out, |deadline, now| (deadline - now).max(0))
}

fn expiretime<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadline(view, argv[1], out, |deadline, _| to_seconds(deadline))
}

fn pexpiretime<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell_deadline(view, argv[1], out, |deadline, _| deadline)
}

fn persist<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let mortal = view
        .get(argv[1])?
        .is_some_and(|live| !live.deadline.is_never());
    if mortal {
        view.set_deadline(argv[1], Deadline::NEVER)?;
    }
    out.int(i64::from(mortal));
    Ok(())
}
