//! `WASM.PROFILE`: runs a function for real, measures it, and rolls back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::call;
use crate::call::request::{CallOutcome, CallRequest, ReceiptOf};
use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::spec::Spec;
use crate::service::Runtime;
use crate::service::call_target::CallTarget;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.PROFILE",
    summary: "Calls a function for real, tells what it took, and rolls back what it wrote.",
    parse,
    ..call::SPEC
};

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    call::read(spec, argv).map(Command::Profile)
}

impl<K: Keyspace> Runtime<K> {
    /// Runs a call, rolls it back, and writes its measurements.
    pub async fn profile<T: CallTarget<K> + Copy>(
        &self,
        request: &CallRequest<'_, T>,
        reply: &mut Encoder,
    ) -> CallOutcome<ReceiptOf<K>> {
        let request = CallRequest {
            profile: true,
            ..*request
        };
        let mut answer = Encoder::new(reply.protocol());
        let started = Instant::now();
        let (outcome, cpu) = with_cpu_time(self.call(&request, &mut answer)).await;
        match &outcome.error {
            // Nothing ran, so there is nothing to report.
            Some(error) if outcome.tries == 0 => reply.error_display(error),
            _ => {
                let measured = Measured {
                    wall: started.elapsed(),
                    cpu,
                    engine: None,
                };
                write_profile(&outcome, &answer, &measured, reply);
            }
        }
        outcome
    }
}

/// The times of a profiled call.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// From its start to its end.
    pub wall: Duration,
    /// Of the processor.
    pub cpu: Duration,
    /// Its requests to another engine, on a host whose data is there.
    pub engine: Option<EngineUse>,
}

/// A call's requests to the engine that holds the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineUse {
    /// Requests that it waited for.
    pub round_trips: u64,
    /// Time that it waited for them.
    pub time: Duration,
    /// Bytes of the values that it read, as of the last time.
    pub read_bytes: u64,
}

/// Writes the reply of `WASM.PROFILE` about a call whose own reply is `answer`.
pub fn write_profile<R>(
    outcome: &CallOutcome<R>,
    answer: &Encoder,
    measured: &Measured,
    reply: &mut Encoder,
) {
    let Measured { wall, cpu, engine } = *measured;
    let CallOutcome {
        receipt: _, // There is none: nothing was committed.
        error,
        fuel,
        tries,
        latency: _, // Part of `wall`.
        denied,
        replied_error: _, // Part of the reply.
        profile,
    } = outcome;
    let mut fields = Fields::new(reply);
    fields.micros("wall_us", Some(wall));
    fields.micros("cpu_us", Some(cpu));
    if let Some(engine) = engine {
        let EngineUse {
            round_trips,
            time,
            read_bytes,
        } = engine;
        fields.micros("engine_us", Some(time));
        fields.count("round_trips", round_trips);
        fields.count("read_bytes", read_bytes);
    }
    fields.count("fuel", *fuel);
    fields.count("tries", u64::from(*tries));
    let memory_bytes = profile.as_ref().map_or(0, |profile| profile.memory_bytes);
    fields.count("memory_bytes", memory_bytes);
    fields.with("host_calls", |reply| {
        let calls = profile
            .as_ref()
            .map_or(&[][..], |profile| profile.host_calls.as_slice());
        reply.array(calls.len());
        for call in calls {
            let mut fields = Fields::new(reply);
            fields.text("name", call.name);
            fields.count("calls", call.calls);
            fields.count("bytes", call.bytes);
            fields.micros("time_us", Some(call.time));
            fields.finish(reply);
        }
    });
    fields.maybe_text("denied", denied.as_ref().map(ToString::to_string));
    fields.maybe_text("error", error.as_ref().map(ToString::to_string));
    fields.count("reply_bytes", answer.len() as u64);
    fields.with("reply", |reply| match error {
        // Many clients cannot read an error inside a map.
        Some(_) => reply.null(),
        None => reply.raw(answer.bytes()),
    });
    fields.finish(reply);
}

/// Runs a future and measures its thread's processor time during each poll.
pub async fn with_cpu_time<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut sum = Duration::ZERO;
    let output = poll_fn(|context| {
        let before = cpu_time();
        let polled = future.as_mut().poll(context);
        sum += cpu_time().saturating_sub(before);
        polled
    })
    .await;
    (output, sum)
}

/// Returns the processor time of this thread so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}
