//! The time that two threads lose by sharing: calls of one function, of two functions of one
//! runtime, and of two runtimes, which share only the machine.
//!
//! On a busy machine both cores are rarely free for long. So this measures many short spans and
//! reports the fastest and the median. For comparison it does the same with a computation that
//! shares nothing.

use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use criterion::Criterion;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::bed::{Bed, encoder};

/// Number of spans for each measurement.
const SPANS: usize = 60;

/// Approximate length of a span.
const SPAN: Duration = Duration::from_millis(8);

/// A function: its name, its file, its key (each thread appends its number) and its arguments.
type Case = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [&'static [u8]],
);

const CASES: &[Case] = &[
    ("no-op", "functions/noop.wat", None, &[]),
    (
        "get + set",
        "functions/get_set.wat",
        Some("bench:key"),
        &[b"0123456789abcdef"],
    ),
];

/// The runtime of each thread, and the function that it calls.
const PLACES: &[(&str, &[(usize, &str)])] = &[
    ("one thread", &[(0, "f")]),
    ("two threads, one function", &[(0, "f"), (0, "f")]),
    ("two threads, two functions", &[(0, "f"), (0, "g")]),
    ("two threads, two runtimes", &[(0, "f"), (1, "f")]),
];

/// Measures if the command line asks for it. Does not use criterion, whose mean would include what
/// other processes do.
pub(crate) fn bench(_: &mut Criterion) {
    if !std::env::args().any(|argument| argument == "sharing") {
        return;
    }
    for threads in [1, 2] {
        let name = format!("sharing, nothing, {threads} threads");
        measure(&name, threads, |_, count| {
            (0..count * 50).fold(1_u64, |sum, number| black_box(sum.wrapping_mul(3) ^ number));
        });
    }
    let beds = [Bed::new(), Bed::new()];
    for &(name, file, key, arguments) in CASES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let Ok(source) = std::fs::read(path) else {
            continue;
        };
        for isolation in [Isolation::Rewind, Isolation::Reuse] {
            for bed in &beds {
                let digest = bed.publish(&source);
                bed.load("f", digest, isolation);
                bed.load("g", digest, isolation);
            }
            for (how, places) in PLACES {
                let name = format!("sharing, {name}, {isolation}, {how}");
                measure(&name, places.len(), |thread, calls| {
                    let (bed, function) = places[thread];
                    let mut reply = encoder();
                    let key = key.map(|key| format!("{key}{thread}"));
                    let keys: Vec<&[u8]> = key.iter().map(String::as_bytes).collect();
                    for _ in 0..calls {
                        beds[bed].call(function, &keys, arguments, &mut reply);
                    }
                });
            }
        }
    }
}

/// Lets each thread `run` the same amount at once, `SPANS` times, and prints the time of one run.
#[expect(clippy::print_stdout, reason = "the figures are what this is for")]
fn measure(name: &str, threads: usize, run: impl Fn(usize, u64) + Sync) {
    run(0, 1000);
    let started = Instant::now();
    run(0, 1000);
    let each = (SPAN.as_nanos() * 1000 / started.elapsed().as_nanos().max(1)) as u64;
    let start = Barrier::new(threads);
    let one_thread = |thread: usize| -> Vec<Duration> {
        let span = |_| {
            start.wait();
            let started = Instant::now();
            run(thread, each);
            started.elapsed()
        };
        (0..SPANS).map(span).collect()
    };
    let spans: Vec<Vec<Duration>> = thread::scope(|scope| {
        let one_thread = &one_thread;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || one_thread(thread)))
            .collect();
        let ended = running.into_iter().map(ScopedJoinHandle::join);
        ended.map(|spans| spans.expect("no panic")).collect()
    });
    let mut nanos: Vec<f64> = (0..SPANS)
        .filter_map(|at| spans.iter().map(|spans| spans[at]).max())
        .map(|span| span.as_nanos() as f64 / (each * threads as u64) as f64)
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!(
        "{name}: {:.0} ns at best, {:.0} as a rule",
        nanos[0],
        nanos[SPANS / 2]
    );
}
