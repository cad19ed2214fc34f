//! The profile of a call, for `run --profile`.

use std::io::{self, Write};
use std::time::Duration;

use ferrite_runtime::call::request::CallProfile;
use ferrite_runtime::commands::EngineUse;
use ferrite_runtime::metrics::host_calls::HostCall;
use serde::Serialize;

use crate::terminal::units::{Bytes, Nanos};

/// The time, fuel, memory and host calls of a call.
#[derive(Serialize)]
pub(super) struct ProfileReport {
    /// Duration, including the creation of the instance.
    nanos: u64,
    fuel: u64,
    /// Largest size of its linear memory.
    memory_bytes: u64,
    /// Host functions, in the order of their first call.
    host_calls: Vec<HostCallReport>,
    /// The requests to the engine that holds the data, with `--upstream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<EngineReport>,
}

/// Requests of a call to the engine that holds the data.
#[derive(Serialize)]
struct EngineReport {
    round_trips: u64,
    /// Bytes of values that were read.
    read_bytes: u64,
    /// Duration of all round trips together.
    nanos: u64,
}

/// Use that the call made of one host function.
#[derive(Serialize)]
struct HostCallReport {
    name: &'static str,
    calls: u64,
    /// Bytes that the host read or wrote for the function.
    bytes: u64,
    /// Duration of all calls together.
    nanos: u64,
}

impl ProfileReport {
    pub(super) fn new(
        profile: &CallProfile,
        took: Duration,
        fuel: u64,
        engine: Option<EngineUse>,
    ) -> Self {
        let host_calls = profile.host_calls.as_slice().iter();
        Self {
            nanos: nanos(took),
            fuel,
            memory_bytes: profile.memory_bytes,
            engine: engine.map(|used| EngineReport {
                round_trips: used.round_trips,
                read_bytes: used.read_bytes,
                nanos: nanos(used.time),
            }),
            host_calls: host_calls
                .map(|call: &HostCall| HostCallReport {
                    name: call.name,
                    calls: call.calls,
                    bytes: call.bytes,
                    nanos: nanos(call.time),
                })
                .collect(),
        }
    }

    pub(super) fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            nanos,
            fuel,
            memory_bytes,
            host_calls,
            engine,
        } = self;
        writeln!(out)?;
        writeln!(out, "time    {}", Nanos(*nanos))?;
        writeln!(out, "fuel    {fuel}")?;
        writeln!(out, "memory  {}", Bytes(*memory_bytes))?;
        if let Some(engine) = engine {
            let EngineReport {
                round_trips,
                read_bytes,
                nanos,
            } = engine;
            let trips = if *round_trips == 1 { "trip" } else { "trips" };
            writeln!(
                out,
                "engine  {} in {round_trips} round {trips}, {} read",
                Nanos(*nanos),
                Bytes(*read_bytes)
            )?;
        }
        if host_calls.is_empty() {
            return writeln!(out, "no host calls");
        }
        writeln!(
            out,
            "{:<16}{:>8}{:>10}  time",
            "host call", "calls", "bytes"
        )?;
        for call in host_calls {
            let HostCallReport {
                name,
                calls,
                bytes,
                nanos,
            } = call;
            writeln!(out, "{name:<16}{calls:>8}{bytes:>10}  {}", Nanos(*nanos))?;
        }
        Ok(())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
