//! The cost of one host call: a hundred host calls in one call of a guest, and a loop of a hundred
//! without any.

use criterion::{BenchmarkId, Criterion, Throughput};
use ferrite_runtime::policy::function_spec::Isolation;

use crate::bed::{Bed, encoder};

/// Host calls in one call of the guest.
const COUNT: u64 = 100;

/// The bodies of the guest's loop. Those that read come after those that write. The key is at 0, a
/// value of 16 bytes at 32, a field at 64, a request `["bench:key"]` at 96, a command's name at
/// 128; there is room for results at 1024.
const BODIES: &[(&str, &str)] = &[
    ("nothing", "(nop)"),
    ("time_millis", "(drop (call $time_millis))"),
    (
        "set",
        "(drop (call $set (i32.const 0) (i32.const 9) (i32.const 32) (i32.const 16) (i32.const 0) (i64.const -1)))",
    ),
    (
        "get",
        "(drop (call $get (i32.const 0) (i32.const 9) (i32.const 1024) (i32.const 1024)))",
    ),
    (
        "incr_by",
        "(drop (call $incr_by (i32.const 16) (i32.const 9) (i64.const 1) (i32.const 1024)))",
    ),
    (
        "hset",
        "(drop (call $hset (i32.const 160) (i32.const 6) (i32.const 64) (i32.const 5) (i32.const 32) (i32.const 16)))",
    ),
    (
        "hget",
        "(drop (call $hget (i32.const 160) (i32.const 6) (i32.const 64) (i32.const 5) (i32.const 1024) (i32.const 1024)))",
    ),
    (
        "call GET",
        "(drop (call $call (i32.const 128) (i32.const 3) (i32.const 96) (i32.const 19) (i32.const 1024) (i32.const 1024)))",
    ),
];

fn module(body: &str) -> String {
    format!(
        r#"(module
          (import "ferrite" "time_millis" (func $time_millis (result i64)))
          (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
          (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
          (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
          (import "ferrite" "hget" (func $hget (param i32 i32 i32 i32 i32 i32) (result i32)))
          (import "ferrite" "hset" (func $hset (param i32 i32 i32 i32 i32 i32) (result i32)))
          (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "bench:key")
          (data (i32.const 16) "bench:sum")
          (data (i32.const 32) "0123456789abcdef")
          (data (i32.const 64) "field")
          (data (i32.const 96) "*1\r\n$9\r\nbench:key\r\n")
          (data (i32.const 128) "GET")
          (data (i32.const 160) "bench:")
          (func (export "run") (result i64)
            (local $left i32)
            (local.set $left (i32.const {COUNT}))
            (loop $again
              {body}
              (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (i64.const 1)))"#
    )
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let bed = Bed::new();
    let mut reply = encoder();
    let mut group = criterion.benchmark_group(format!("{COUNT} host calls"));
    group.throughput(Throughput::Elements(COUNT));
    for (name, body) in BODIES {
        let digest = bed.publish(module(body).as_bytes());
        bed.load("f", digest, Isolation::Reuse);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| bed.call("f", &[], &[], &mut reply));
        });
    }
    group.finish();
}
