//! Pointers out of the guest's memory, given to every host function that takes one.

use ferrite_wasm_abi::{IMPORTS, NumType};

use crate::support::{Host, guest};

/// A page.
const MEMORY_BYTES: i64 = 65_536;

/// Names of a pointer and of its length in the ABI's declarations, with the bytes that a unit of
/// length stands for. A fixed length stands for itself.
const POINTERS: &[(&str, Length, i64)] = &[
    ("name", Length::Param("nlen"), 1),
    ("key", Length::Param("klen"), 1),
    ("buf", Length::Param("cap"), 1),
    ("buf", Length::Param("len"), 1),
    ("val", Length::Param("vlen"), 1),
    ("field", Length::Param("flen"), 1),
    ("ptr", Length::Param("len"), 1),
    ("cmd", Length::Param("cmdlen"), 1),
    ("args", Length::Param("argslen"), 1),
    ("pairs", Length::Param("count"), 8),
    ("out", Length::Fixed, 8),
    ("request", Length::Param("len"), 1),
];

#[derive(Clone, Copy)]
enum Length {
    Param(&'static str),
    Fixed,
}

/// The ABI's declarations with the names of their parameters.
macro_rules! declarations {
    ($($(#[$doc:meta])* fn $name:ident($($param:ident: $ty:ty),*) $(-> $result:ty)?;)*) => {
        const DECLARATIONS: &[(&str, &[&str])] = &[$((stringify!($name), &[$(stringify!($param)),*])),*];
    };
}

ferrite_wasm_abi::imports!(declarations);

/// A host function, one of its pointers, and the pointer's length.
struct Case {
    name: &'static str,
    params: &'static [&'static str],
    pointer: &'static str,
    length: Length,
    unit: i64,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, params) in DECLARATIONS {
        for &(pointer, length, unit) in POINTERS {
            let there = match length {
                Length::Param(length) => params.contains(&length),
                Length::Fixed => true,
            };
            // The first length that fits is the pointer's: `len` may be that of another one.
            let known = cases
                .iter()
                .any(|case: &Case| case.name == name && case.pointer == pointer);
            if params.contains(&pointer) && there && !known {
                cases.push(Case {
                    name,
                    params,
                    pointer,
                    length,
                    unit,
                });
            }
        }
    }
    cases
}

impl Case {
    /// A guest that calls the function with this pointer and length; other numbers are 0.
    fn guest(&self, pointer: i64, length: i64) -> String {
        let import = IMPORTS
            .iter()
            .find(|import| import.name == self.name)
            .expect("it was declared");
        let mut call = format!("(call ${}", self.name);
        for (param, ty) in self.params.iter().zip(import.params) {
            let value = match self.length {
                _ if *param == self.pointer => pointer,
                Length::Param(name) if *param == name => length,
                _ => 0,
            };
            call += &format!(" ({}.const {value})", ty.name());
        }
        call.push(')');
        let body = match import.result {
            Some(NumType::I32 | NumType::I64 | NumType::F64) => format!("(drop {call})"),
            None => call,
        };
        guest(&format!("(func (export \"run\") {body})"))
    }
}

#[test]
fn every_pointer_of_the_abi_is_known_here() {
    let numbers = [
        "index", "cap", "value", "len", "n", "klen", "vlen", "options", "ttl_ms", "count", "delta",
        "flen", "nlen", "cmdlen", "argslen", "offset", "level",
    ];
    for (name, params) in DECLARATIONS {
        for param in *params {
            let pointer = cases()
                .iter()
                .any(|case| case.name == *name && case.pointer == *param);
            assert!(
                pointer || numbers.contains(param),
                "{name}: is {param} a pointer?"
            );
        }
    }
}

#[tokio::test]
async fn a_pointer_outside_memory_traps_and_says_where() {
    let host = Host::new();
    for case in cases() {
        let last = MEMORY_BYTES - case.unit;
        let mut wrong = vec![(MEMORY_BYTES, 1), (last + 1, 1), (-1, 1), (-1, -1)];
        if matches!(case.length, Length::Param(_)) {
            wrong.extend([
                (0, MEMORY_BYTES / case.unit + 1),
                (1, MEMORY_BYTES / case.unit),
                (1, -1),
                (i64::from(i32::MIN), 1),
            ]);
        }
        for (pointer, length) in wrong {
            // With the usual fuel, which does not suffice for that many bytes, and with enough.
            let usual = host.load(&case.guest(pointer, length));
            let ample = host.load_with(&case.guest(pointer, length), |spec| {
                spec.limits.fuel_max = u64::MAX >> 1;
            });
            let reply = host.call(&usual, &[], &[]).await;
            assert_eq!(host.call(&ample, &[], &[]).await, reply, "{}", case.name);
            let start = format!("-TRAP in wasm function number {} at offset ", IMPORTS.len());
            let len = match case.length {
                Length::Param(_) => i64::from((length as i32).cast_unsigned()) * case.unit,
                Length::Fixed => case.unit,
            };
            let end = format!(
                ": {} was given {len} bytes at {:#x}, outside the memory of 65536 bytes",
                case.name,
                (pointer as i32).cast_unsigned(),
            );
            assert!(
                reply.starts_with(&start) && reply.ends_with(&end),
                "{} {} = {pointer}, {length}: {reply}",
                case.name,
                case.pointer,
            );
        }
    }
    assert_eq!(
        host.keyspace
            .committed
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn the_last_byte_of_memory_is_inside() {
    let host = Host::new();
    for case in cases() {
        let last = MEMORY_BYTES - case.unit;
        for (pointer, length) in [(MEMORY_BYTES, 0), (last, 1)] {
            if matches!(case.length, Length::Fixed) && length == 0 {
                continue;
            }
            let function = host.load(&case.guest(pointer, length));
            let reply = host.call(&function, &[], &[]).await;
            assert!(
                !reply.contains("outside the memory"),
                "{} {} = {pointer}, {length}: {reply}",
                case.name,
                case.pointer,
            );
        }
    }
}

#[tokio::test]
async fn pairs_may_not_point_outside_either() {
    let host = Host::new();
    for (name, before) in [
        ("del", ""),
        ("exists", ""),
        ("hdel", "(i32.const 0) (i32.const 0)"),
    ] {
        for pair in [
            r"\00\00\01\00\01\00\00\00",
            r"\ff\ff\ff\ff\ff\ff\ff\ff",
            r"\ff\ff\00\00\02\00\00\00",
        ] {
            let function = host.load(&guest(&format!(
                r#"(data (i32.const 8) "\00\00\00\00\01\00\00\00{pair}")
                (func (export "run")
                    (drop (call ${name} {before} (i32.const 8) (i32.const 2))))"#
            )));
            let reply = host.call(&function, &[], &[]).await;
            assert!(
                reply.starts_with("-TRAP") && reply.contains(&format!("{name} was given")),
                "{name}: {reply}"
            );
        }
    }
}
