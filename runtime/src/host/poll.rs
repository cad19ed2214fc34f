//! `poll_oneoff` of WASI: lets Go and C sleep, and ask if a stream is ready.
//!
//! A sleeping guest yields its thread, and its call's time continues: `max_time` and `WASM.KILL`
//! end it like a guest that computes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Linker, Result};

use ferrite_wasm_abi::wasi::{PREVIEW1_MODULE, errno};

use crate::call::host_trap::HostTrap;
use crate::call::state::StoreData;
use crate::host::fuel;
use crate::host::guest::Guest;
use crate::host::wasi::{STDIN, is_stream};
use crate::scheduling::moment::Moment;
use crate::scheduling::timer::sleep_until;
use crate::scheduling::wait::with_stop_check;
use ferrite_protocol::keyspace::Keyspace;

/// Bytes of a `subscription`: user data at 0, tag at 8; a clock's number at 16, its time at 24, its
/// flags at 40; a stream's descriptor at 16.
const SUBSCRIPTION_BYTES: usize = 48;

/// Bytes of an `event`: user data at 0, error at 8, type at 10, number of ready bytes at 16.
const EVENT_BYTES: usize = 32;

/// Most subscriptions that one poll takes. Runtimes ask for one or two.
const SUBSCRIPTIONS_MAX: u64 = 64;

/// Flag: the time of a clock's subscription is a point on the clock, not a span.
const ABSOLUTE: u16 = 1;

const CLOCK: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;

/// One event that a guest waits for.
#[derive(Clone, Copy)]
struct Subscription {
    user: [u8; 8],
    tag: u8,
    until: Readiness,
}

/// Time of the event.
#[derive(Clone, Copy)]
enum Readiness {
    At(Moment),
    Now { errno: i32 },
}

/// Adds `poll_oneoff` to a linker. No other host function may wait.
pub(super) fn add<K: Keyspace>(linker: &mut Linker<StoreData<K>>) -> Result<()> {
    linker.func_wrap_async(
        PREVIEW1_MODULE,
        "poll_oneoff",
        |caller: Caller<'_, StoreData<K>>,
         (subscriptions, events, count, out): (i32, i32, i32, i32)| {
            Box::new(async move {
                let mut guest = Guest::new(caller, "poll_oneoff");
                poll(&mut guest, subscriptions, events, count, out).await
            })
        },
    )?;
    Ok(())
}

/// Adds a `poll_oneoff` that never waits: a call that must wait is run again on a stack of its own.
pub(super) fn add_direct<K: Keyspace>(linker: &mut Linker<StoreData<K>>) -> Result<()> {
    linker.func_wrap(
        PREVIEW1_MODULE,
        "poll_oneoff",
        |caller: Caller<'_, StoreData<K>>,
         subscriptions: i32,
         events: i32,
         count: i32,
         out: i32| {
            let mut guest = Guest::new(caller, "poll_oneoff");
            match read_all(&mut guest, subscriptions, events, count, out)? {
                Wanted::Invalid => Ok(errno::INVAL),
                Wanted::Later(..) => Err(HostTrap::NeedsFiber.into()),
                Wanted::Now(wanted) => answer(&mut guest, &wanted, events, out),
            }
        },
    )?;
    Ok(())
}

async fn poll<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    subscriptions: i32,
    events: i32,
    count: i32,
    out: i32,
) -> Result<i32> {
    let wanted = match read_all(guest, subscriptions, events, count, out)? {
        Wanted::Invalid => return Ok(errno::INVAL),
        Wanted::Now(wanted) => wanted,
        Wanted::Later(wanted, first) => {
            let state = guest.state();
            state.end_exclusive_by(first);
            with_stop_check(sleep_until(first), || state.check_stop()).await?;
            state.resume();
            wanted
        }
    };
    answer(guest, &wanted, events, out)
}

/// Request of a poll.
enum Wanted {
    /// No subscription, or too many.
    Invalid,
    /// At least one event is ready.
    Now(Vec<Subscription>),
    /// No event is ready; the earliest one comes at this moment.
    Later(Vec<Subscription>, Moment),
}

fn read_all<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    subscriptions: i32,
    events: i32,
    count: i32,
    out: i32,
) -> Result<Wanted> {
    let count = u64::from(count.cast_unsigned());
    guest.charge(fuel::CALL)?;
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Ok(Wanted::Invalid);
    }
    guest.charge(fuel::ACCESS * count)?;
    let subscriptions: Vec<Subscription> = {
        let view = guest.view()?;
        let events_bytes = count * EVENT_BYTES as u64;
        view.span_of(events.cast_unsigned(), events_bytes)?;
        view.span_of(out.cast_unsigned(), size_of::<u32>() as u64)?;
        let bytes = count * SUBSCRIPTION_BYTES as u64;
        let table = view.span_of(subscriptions.cast_unsigned(), bytes)?;
        let (table, _) = view.memory[table].as_chunks::<SUBSCRIPTION_BYTES>();
        table.iter().map(read).collect()
    };
    let first = subscriptions
        .iter()
        .filter_map(|subscription| match subscription.until {
            Readiness::At(moment) => Some(moment),
            Readiness::Now { .. } => None,
        });
    let ready_now = subscriptions
        .iter()
        .any(|subscription| matches!(subscription.until, Readiness::Now { .. }));
    Ok(match first.min() {
        Some(first) if !ready_now => Wanted::Later(subscriptions, first),
        _ => Wanted::Now(subscriptions),
    })
}

/// Writes an event for each subscription that is ready now.
fn answer<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    subscriptions: &[Subscription],
    events: i32,
    out: i32,
) -> Result<i32> {
    let now = Moment::now();
    let mut ready: u32 = 0;
    for subscription in subscriptions {
        let errno = match subscription.until {
            Readiness::At(moment) if moment > now => continue,
            Readiness::At(_) => errno::SUCCESS,
            Readiness::Now { errno } => errno,
        };
        let mut event = [0; EVENT_BYTES];
        event[..8].copy_from_slice(&subscription.user);
        // Error numbers have 16 bits here.
        event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
        event[10] = subscription.tag;
        let at = events.cast_unsigned() + ready * EVENT_BYTES as u32;
        guest.view()?.write(at, &event)?;
        ready += 1;
    }
    guest
        .view()?
        .write(out.cast_unsigned(), &ready.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn read(bytes: &[u8; SUBSCRIPTION_BYTES]) -> Subscription {
    let user = *bytes.first_chunk().unwrap_or(&[0; 8]);
    let [_, _, _, _, _, _, _, _, tag, ..] = *bytes;
    let number = |at: usize| -> u64 {
        let part = bytes[at..].first_chunk().copied();
        part.map(u64::from_le_bytes).unwrap_or_default()
    };
    // In little-endian order, the low half of a number comes first.
    let word = number(16) as u32;
    let until = match tag {
        CLOCK => match deadline(word, number(24), number(40) as u16) {
            Some(moment) => Readiness::At(moment),
            None => Readiness::Now {
                errno: errno::INVAL,
            },
        },
        READ if word.cast_signed() == STDIN => Readiness::Now {
            errno: errno::SUCCESS,
        },
        WRITE if is_stream(word.cast_signed()) && word.cast_signed() != STDIN => Readiness::Now {
            errno: errno::SUCCESS,
        },
        READ | WRITE => Readiness::Now { errno: errno::BADF },
        _ => Readiness::Now {
            errno: errno::INVAL,
        },
    };
    Subscription { user, tag, until }
}

/// Returns the moment at which a clock reaches a time; `None` if there is no such clock.
fn deadline(clock: u32, nanos: u64, flags: u16) -> Option<Moment> {
    let asked = Duration::from_nanos(nanos);
    let absolute = flags & ABSOLUTE != 0;
    let now = Moment::now();
    match (clock, absolute) {
        (0 | 1, false) => Some(now.after(asked)),
        (0, true) => {
            let today = SystemTime::now().duration_since(UNIX_EPOCH);
            Some(now.after(asked.saturating_sub(today.unwrap_or_default())))
        }
        (1, true) => Some(Moment::from_micros(nanos.div_ceil(1000))),
        _ => None,
    }
}
