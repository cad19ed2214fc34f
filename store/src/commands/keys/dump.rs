//! `DUMP` and `RESTORE`.

use crate::commands::arguments::integer;
use crate::commands::keys::expiry::{TimeUnit, deadline_of_new};
use crate::commands::spec::{Answer, Argv, BLIND, DENYOOM, Keys, Out, READONLY, WRITE, commands};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::rdb::{self, RestoreError};
use crate::value::deadline::Deadline;
use ferrite_protocol::budget::LOOKUP;

commands! {
    "dump", 2, READONLY, Keys::FIRST => dump,
        "generic", "key",
        "Returns a value in the form in which RESTORE takes it.";
    "restore", -4, WRITE | DENYOOM | BLIND, Keys::FIRST => restore,
        "generic", "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        "Writes a value that DUMP returned.";
}

fn dump<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let live = view.get(argv[1])?;
    if let Some(live) = &live {
        live.value
            .each_part(|len| out.charge(LOOKUP + len as u64))?;
    }
    let payload = live.map(|live| rdb::dump(live.value));
    out.bulk_or_null(payload.as_deref());
    Ok(())
}

/// The options of `RESTORE`.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    /// Reads the options. When a key was last used, and how often, is not recorded, so what a request
    /// says about that is only checked.
    fn parse(argv: &[&[u8]]) -> Result<Self, StoreError> {
        let mut options = Self::default();
        let (mut idle, mut frequency) = (false, false);
        let mut rest = argv.iter();
        while let Some(option) = rest.next() {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            if is(b"replace") {
                options.replace = true;
            } else if is(b"absttl") {
                options.absolute = true;
            } else if is(b"idletime") && !frequency && rest.len() > 0 {
                idle = true;
                if integer(rest.next().ok_or(StoreError::Syntax)?)? < 0 {
                    return Err(StoreError::Refused(
                        "ERR Invalid IDLETIME value, must be >= 0",
                    ));
                }
            } else if is(b"freq") && !idle && rest.len() > 0 {
                frequency = true;
                if !(0..=255).contains(&integer(rest.next().ok_or(StoreError::Syntax)?)?) {
                    return Err(StoreError::Refused(
                        "ERR Invalid FREQ value, must be >= 0 and <= 255",
                    ));
                }
            } else {
                return Err(StoreError::Syntax);
            }
        }
        Ok(options)
    }
}

fn restore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    // A payload can be compressed a hundred times, and its elements are added one by one.
    out.charge(2 * LOOKUP * argv[3].len() as u64)?;
    let options = Options::parse(&argv[4..])?;
    if !options.replace && view.exists(argv[1])? {
        return Err(StoreError::Refused(
            "BUSYKEY Target key name already exists.",
        ));
    }
    let ttl = integer(argv[2])?;
    if ttl < 0 {
        return Err(StoreError::Refused("ERR Invalid TTL value, must be >= 0"));
    }
    let unit = if options.absolute {
        TimeUnit::AtMillis
    } else {
        TimeUnit::Millis
    };
    let now = view.now();
    let value = rdb::restore(argv[3], now, view.limits().string_bytes_max);
    let value = value.map_err(|error| {
        StoreError::Refused(match error {
            RestoreError::Footer => "ERR DUMP payload version or checksum are wrong",
            RestoreError::Content => "ERR Bad data format",
        })
    })?;
    let deadline = match ttl {
        0 => Deadline::NEVER,
        // An instant beyond the end of time wraps to one long ago, as in Valkey.
        ttl => deadline_of_new(unit.instant(ttl, || now).unwrap_or(i64::MIN), now),
    };
    view.put(argv[1], value, deadline)?;
    out.ok();
    Ok(())
}
