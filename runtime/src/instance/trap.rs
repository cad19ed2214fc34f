//! Turns the end of a guest without a reply into the error that the client sees.

use wasmtime::{FrameInfo, Trap, WasmBacktrace};

use crate::call::host_trap::HostTrap;
use crate::call::reply_builder::ReplyError;
use crate::call::resource_limiter::LimitHit;
use crate::error::{CallError, Code};
use crate::instance::linked_module::LinkedModule;
use crate::policy::limits::Limits;
use ferrite_protocol::keyspace::Keyspace;

/// Longest name of a wasm function that an error shows, in characters; they can be very long.
const NAME_CHARS_MAX: usize = 200;

/// Maps compiled code to the module that its author wrote.
pub(crate) trait SourceMap {
    /// Returns true if the author wrote the function of this index.
    fn is_authored(&self, function: u32) -> bool;
    /// Translates an offset in the compiled module to one in the source.
    fn source_offset(&self, compiled: u64) -> u64;
}

impl<K: Keyspace> SourceMap for LinkedModule<K> {
    fn is_authored(&self, function: u32) -> bool {
        self.is_authored(function)
    }

    fn source_offset(&self, compiled: u64) -> u64 {
        self.source_offset(compiled)
    }
}

/// Returns the error of a guest's call as the client sees it.
///
/// `refused` is the last limit that the guest hit in this call: a trap after that is reported as
/// this limit, at whatever instruction it happened. `last_error` is the last line that the guest
/// logged as an error: if the guest ended itself, it says why, as a panic message does. `source` maps
/// the code to what its author wrote.
#[cold]
#[must_use]
pub(crate) fn classify(
    error: &wasmtime::Error,
    limits: &Limits,
    refused: Option<LimitHit>,
    last_error: Option<&str>,
    source: &dyn SourceMap,
) -> CallError {
    if let Some(stop) = error.downcast_ref::<HostTrap>() {
        return match (stop, last_error) {
            (HostTrap::OutOfBounds { .. }, _) if refused == Some(LimitHit::LinearStack) => {
                out_of(LimitHit::LinearStack, error, source)
            }
            (HostTrap::Exit { .. }, Some(why)) => CallError::new(Code::Trap, why.to_owned()),
            _ => stopped(stop, error, source),
        };
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trapped(*trap, error, limits, refused, last_error, source);
    }
    match refused {
        Some(refused) => out_of(refused, error, source),
        None => CallError::new(
            Code::Trap,
            format!("the function cannot be started: {error:#}"),
        ),
    }
}

fn stopped(stop: &HostTrap, error: &wasmtime::Error, source: &dyn SourceMap) -> CallError {
    match stop {
        HostTrap::Timeout { limit, elapsed } => CallError::timeout(*limit, *elapsed),
        HostTrap::Killed => CallError::killed(),
        HostTrap::CutOff(_) => CallError::limit(stop.to_string()),
        HostTrap::Reply {
            problem: problem @ ReplyError::TooLong { .. },
            ..
        } => CallError::limit(problem.to_string()),
        HostTrap::OutOfBounds { .. }
        | HostTrap::ReturnedOutOfBounds { .. }
        | HostTrap::NoMemory { .. }
        | HostTrap::Reply { .. }
        | HostTrap::Exit { .. }
        | HostTrap::NeedsFiber
        | HostTrap::NoRandomness => {
            CallError::new(Code::Trap, format!("{}{stop}", place(error, source)))
        }
    }
}

fn trapped(
    trap: Trap,
    error: &wasmtime::Error,
    limits: &Limits,
    refused: Option<LimitHit>,
    last_error: Option<&str>,
    source: &dyn SourceMap,
) -> CallError {
    match (trap, refused) {
        (Trap::OutOfFuel, _) => CallError::fuel(limits.fuel_max),
        (Trap::StackOverflow, _) => CallError::new(
            Code::Stack,
            format!(
                "{}calls nest too deep for the stack of {} bytes; recurse less",
                place(error, source),
                limits.stack_bytes_max
            ),
        ),
        (Trap::MemoryOutOfBounds, Some(refused @ LimitHit::LinearStack))
        | (_, Some(refused @ (LimitHit::Memory { .. } | LimitHit::Table { .. } | LimitHit::Depth { .. }))) => {
            out_of(refused, error, source)
        }
        (Trap::UnreachableCodeReached, _) => CallError::new(
            Code::Trap,
            last_error.map_or_else(
                || format!(
                    "{}unreachable was executed, as a panic or abort of the function does; its log may say why",
                    place(error, source)
                ),
                str::to_owned,
            ),
        ),
        (trap, _) => {
            let text = trap.to_string();
            let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
            CallError::new(Code::Trap, format!("{}{text}", place(error, source)))
        }
    }
}

fn out_of(refused: LimitHit, error: &wasmtime::Error, source: &dyn SourceMap) -> CallError {
    match refused {
        LimitHit::Memory {
            limit_bytes,
            wanted_bytes,
        } => CallError::memory(limit_bytes, wanted_bytes),
        LimitHit::Table {
            limit_elements,
            wanted_elements,
        } => CallError::limit(format!(
            "the function wanted {wanted_elements} table elements, its limit is {limit_elements}; raise max_table_elements"
        )),
        LimitHit::LinearStack => CallError::new(
            Code::Stack,
            format!(
                "{}the stack in the module's memory is used up; recurse less, keep large values elsewhere, or link with a larger one (-z stack-size)",
                function(error, source)
            ),
        ),
        LimitHit::Depth { limit } => CallError::new(
            Code::Stack,
            format!(
                "{}calls nest {} deep, the limit is {limit}; raise max_stack_depth, or recurse less",
                function(error, source),
                u64::from(limit) + 1
            ),
        ),
    }
}

/// `in wasm function "name" at offset 0x2a: `, or nothing where no guest code was running.
fn place(error: &wasmtime::Error, source: &dyn SourceMap) -> String {
    let Some(frame) = frame(error, source) else {
        return String::new();
    };
    let name = name(frame);
    match frame.module_offset() {
        Some(offset) => {
            let offset = source.source_offset(offset as u64);
            format!("in wasm function {name} at offset {offset:#x}: ")
        }
        None => format!("in wasm function {name}: "),
    }
}

/// The same without the offset, if the code at it is not the author's.
fn function(error: &wasmtime::Error, source: &dyn SourceMap) -> String {
    frame(error, source).map_or_else(String::new, |frame| {
        format!("in wasm function {}: ", name(frame))
    })
}

/// The innermost frame of a function that the author wrote.
fn frame<'e>(error: &'e wasmtime::Error, source: &dyn SourceMap) -> Option<&'e FrameInfo> {
    error
        .downcast_ref::<WasmBacktrace>()
        .into_iter()
        .flat_map(WasmBacktrace::frames)
        .find(|frame| source.is_authored(frame.func_index()))
}

fn name(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => demangled(name),
        None => format!("number {}", frame.func_index()),
    }
}

/// A function's name, quoted, as its author wrote it.
fn demangled(name: &str) -> String {
    // The alternate form leaves out the hash that ends a mangled name.
    let name = format!("{:#}", rustc_demangle::demangle(name));
    if name.chars().count() <= NAME_CHARS_MAX {
        format!("\"{name}\"")
    } else {
        let start: String = name.chars().take(NAME_CHARS_MAX).collect();
        format!("\"{start}…\"")
    }
}

#[cfg(test)]
mod tests {
    use super::{SourceMap, classify, demangled};
    use crate::call::host_trap::HostTrap;
    use crate::call::resource_limiter::LimitHit;
    use crate::error::Code;
    use crate::policy::limits::Limits;
    use wasmtime::Trap;

    /// A module that was compiled as it is.
    struct Unchanged;

    impl SourceMap for Unchanged {
        fn is_authored(&self, _: u32) -> bool {
            true
        }

        fn source_offset(&self, compiled: u64) -> u64 {
            compiled
        }
    }

    #[test]
    fn names_are_demangled_and_bounded() {
        assert_eq!(
            demangled("_ZN4demo5split17h0123456789abcdefE"),
            "\"demo::split\""
        );
        assert_eq!(demangled("plain_name"), "\"plain_name\"");
        assert_eq!(demangled(&"é".repeat(300)).chars().count(), 203);
    }

    #[test]
    fn a_trap_after_a_refusal_is_about_memory_unless_it_is_about_time() {
        let refused = Some(LimitHit::Memory {
            limit_bytes: 65536,
            wanted_bytes: 131_072,
        });
        for (trap, expected) in [
            (Trap::UnreachableCodeReached, Code::Memory),
            (Trap::MemoryOutOfBounds, Code::Memory),
            (Trap::OutOfFuel, Code::Fuel),
            (Trap::StackOverflow, Code::Stack),
        ] {
            let error = classify(&trap.into(), &Limits::DEFAULT, refused, None, &Unchanged);
            assert_eq!(error.code(), expected, "{error}");
        }
        let error = classify(
            &Trap::IntegerOverflow.into(),
            &Limits::DEFAULT,
            None,
            None,
            &Unchanged,
        );
        assert_eq!(error.to_string(), "TRAP integer overflow");
    }

    #[test]
    fn a_stack_in_memory_that_is_used_up_ends_at_an_access_out_of_bounds() {
        for (trap, expected) in [
            (Trap::MemoryOutOfBounds, Code::Stack),
            (Trap::UnreachableCodeReached, Code::Trap),
            (Trap::IntegerOverflow, Code::Trap),
        ] {
            let refused = Some(LimitHit::LinearStack);
            let error = classify(&trap.into(), &Limits::DEFAULT, refused, None, &Unchanged);
            assert_eq!(error.code(), expected, "{error}");
        }
    }

    #[test]
    fn a_guest_that_ends_itself_has_said_why_in_its_log() {
        let why = Some("panic: no stock (src/lib.rs:7)");
        for (error, expected) in [
            (
                Trap::UnreachableCodeReached.into(),
                "TRAP panic: no stock (src/lib.rs:7)",
            ),
            (
                HostTrap::Exit { code: 2 }.into(),
                "TRAP panic: no stock (src/lib.rs:7)",
            ),
            (
                Trap::IntegerDivisionByZero.into(),
                "TRAP integer divide by zero",
            ),
        ] {
            let error = classify(&error, &Limits::DEFAULT, None, why, &Unchanged);
            assert_eq!(error.to_string(), expected);
        }
    }
}
