//! The host functions for a start that runs at compile time.
//!
//! | the start calls | answer |
//! |---|---|
//! | any function of the ABI: data, input, replies, the log, `time_millis`, `random` | refused |
//! | arguments, environment, descriptors, `sched_yield`, clock resolution | the constant answer of every host |
//! | the monotonic clocks | microseconds from 1 on, one more with each reading: any host's clock is later |
//! | the time of day | refused: the date of the compilation would be kept for good |
//! | `random_get` | bytes that follow from the source, where the SDK's marker vouches; else refused |
//! | output, `proc_exit`, waiting | refused |

use std::fmt;

use ferrite_cache::Digest;
use ferrite_cache::javascript::StartFault;
use ferrite_wasm_abi::MEMORY_EXPORT;
use ferrite_wasm_abi::wasi::{self, PREVIEW1_MODULE, errno};
use wasmi::errors::HostError;
use wasmi::{Caller, Error, ExternType, Linker, Module, StoreLimits, Val};

use super::RandomBytes;

/// Nanoseconds in a tick of the monotonic clock.
const TICK_NANOS: u64 = 1000;

/// The host's state during one start.
pub(super) struct PreinitHost {
    pub(super) limits: StoreLimits,
    random_bytes: RandomBytes,
    /// Readings of the monotonic clock so far.
    ticks: u64,
    /// Seed of the random bytes.
    seed: Digest,
    /// Blocks of 32 random bytes returned so far.
    blocks: u64,
}

impl PreinitHost {
    pub(super) fn new(limits: StoreLimits, random_bytes: RandomBytes, seed: Digest) -> Self {
        Self {
            limits,
            random_bytes,
            ticks: 0,
            seed,
            blocks: 0,
        }
    }

    /// Returns pseudo-random bytes derived from the source alone: the same source must compile to the
    /// same code everywhere.
    fn random(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let mut block = self.seed.as_bytes().to_vec();
            block.extend_from_slice(&self.blocks.to_le_bytes());
            self.blocks += 1;
            bytes.extend_from_slice(Digest::of(&block).as_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// The reason why a start must run in every instance, worded to follow "its start".
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HostError for Refusal {}

fn refuse(reason: impl Into<String>) -> Error {
    Error::host(Refusal(reason.into()))
}

/// Adds everything that the module imports to the linker.
pub(super) fn add(linker: &mut Linker<PreinitHost>, module: &Module) -> Result<(), Error> {
    for import in module.imports() {
        // A valid module imports only functions.
        let ExternType::Func(ty) = import.ty() else {
            continue;
        };
        let (from, name) = (import.module().to_owned(), import.name().to_owned());
        let asked = (from.clone(), name.clone());
        let defined = linker.func_new(&from, &name, ty.clone(), move |caller, params, results| {
            let (from, name) = (asked.0.as_str(), asked.1.as_str());
            if from != PREVIEW1_MODULE {
                return Err(refuse(StartFault::HostCall { name }.to_string()));
            }
            let answer = preview1(caller, name, params)?;
            if let [result] = results {
                *result = Val::I32(answer);
            }
            Ok(())
        });
        match defined {
            Ok(_) => {}
            // A module may import one function twice.
            Err(wasmi::errors::LinkerError::DuplicateDefinition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Answers a function of WASI preview 1 like the hosts do, if their answer is constant.
fn preview1(mut caller: Caller<'_, PreinitHost>, name: &str, params: &[Val]) -> Result<i32, Error> {
    let param = |index: usize| match params.get(index) {
        Some(Val::I32(value)) => value.cast_unsigned(),
        _ => 0,
    };
    let stream = param(0) <= 2;
    let answer = match name {
        "args_sizes_get" | "environ_sizes_get" => {
            write(&mut caller, param(0), &[0; 4])?;
            write(&mut caller, param(1), &[0; 4])?;
            errno::SUCCESS
        }
        "args_get" | "environ_get" | "sched_yield" => errno::SUCCESS,
        "clock_res_get" if param(0) <= 3 => {
            write(&mut caller, param(1), &TICK_NANOS.to_le_bytes())?;
            errno::SUCCESS
        }
        "clock_res_get" => errno::INVAL,
        "clock_time_get" => match param(0) {
            0 => {
                return Err(refuse(
                    "reads the time of day, which would be that of the compilation for good",
                ));
            }
            1..=3 => {
                let host = caller.data_mut();
                host.ticks += 1;
                let nanos = host.ticks * TICK_NANOS;
                write(&mut caller, param(2), &nanos.to_le_bytes())?;
                errno::SUCCESS
            }
            _ => errno::INVAL,
        },
        "random_get" => {
            if caller.data().random_bytes == RandomBytes::Refused {
                return Err(refuse(
                    "draws random bytes, which would be the same in every instance; draw them in \
                     the entries",
                ));
            }
            let len = usize::try_from(param(1)).unwrap_or(usize::MAX);
            // Check the length before allocating.
            if len > memory_len(&caller) {
                return Err(refuse("asks for more random bytes than its memory has"));
            }
            let bytes = caller.data_mut().random(len);
            write(&mut caller, param(0), &bytes)?;
            errno::SUCCESS
        }
        "fd_fdstat_get" if stream => {
            write(&mut caller, param(1), &wasi::stream_stat(param(0) == 0))?;
            errno::SUCCESS
        }
        "fd_read" if param(0) == 0 => {
            write(&mut caller, param(3), &[0; 4])?;
            errno::SUCCESS
        }
        "fd_close" if stream => errno::SUCCESS,
        "fd_seek" if stream => errno::SPIPE,
        "fd_write" if stream => return Err(refuse("writes to its output, which nobody would see")),
        "proc_exit" => return Err(refuse("ends itself with `proc_exit`")),
        "poll_oneoff" => return Err(refuse("waits with `poll_oneoff`")),
        name => wasi::absent(name),
    };
    Ok(answer)
}

fn memory_len(caller: &Caller<'_, PreinitHost>) -> usize {
    caller
        .get_export(MEMORY_EXPORT)
        .and_then(wasmi::Extern::into_memory)
        .map_or(0, |memory| memory.data_size(caller))
}

/// Writes into guest memory. An address outside of it ends the start, as it would end a call.
fn write(caller: &mut Caller<'_, PreinitHost>, at: u32, bytes: &[u8]) -> Result<(), Error> {
    let written = caller
        .get_export(MEMORY_EXPORT)
        .and_then(wasmi::Extern::into_memory)
        .and_then(|memory| memory.write(caller, at as usize, bytes).ok());
    written.ok_or_else(|| refuse("passes an address outside of its memory"))
}
