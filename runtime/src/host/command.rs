//! `call`: any data command of the host, by name, inside the call's transaction.

use ferrite_wasm_abi::Status;
use smallvec::SmallVec;
use wasmtime::Result;

use crate::call::fuel_account::SLICE_UNITS;
use crate::call::host_trap::HostTrap;
use crate::call::overflow::ResultSource;
use crate::call::state::{ARGUMENT_BOUNDS, CommandParts};
use crate::host::fuel;
use crate::host::guest::Guest;
use ferrite_protocol::budget::{Bounds, Budget, Exceeded};
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::{Protocol, RequestScanner, Scan};

pub(super) fn call<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    cmd: i32,
    cmdlen: i32,
    args: i32,
    argslen: i32,
    buf: i32,
    cap: i32,
) -> Result<i32> {
    guest.charge_inputs(
        fuel::CALL + fuel::COMMAND,
        &[(cmd, cmdlen), (args, argslen)],
    )?;
    let view = guest.view()?;
    let name = view.span(cmd, cmdlen)?;
    let args = view.span(args, argslen)?;
    let buffer = view.span(buf, cap)?;
    let CommandParts {
        data,
        overflow,
        arguments,
        reply,
        work_max,
        held_thread,
        stop,
    } = view.state.command_parts();

    let args = &view.memory[args];
    if !scan(arguments, args) {
        return Ok(Status::Invalid.code());
    }
    reply.clear();
    reply.set_protocol(Protocol::Resp2);
    let must_stop = || stop.check().is_err();
    let bounds = Bounds {
        work_max,
        written_bytes_max: data.writes_left(),
        reply_bytes_max: overflow.bytes_max(),
    };
    let budget = Budget::new(bounds, &must_stop);
    let ran = {
        let mut argv: SmallVec<[&[u8]; 16]> = SmallVec::new();
        argv.push(&view.memory[name]);
        if !args.is_empty() {
            argv.extend(arguments.arguments(args));
        }
        budget
            .charge(fuel::CALL.saturating_mul(argv.len() as u64))
            .and_then(|()| data.run_command(&argv, &budget, reply))
    };
    let work = budget.work();
    if work >= SLICE_UNITS || matches!(ran, Err(Exceeded::Work)) {
        *held_thread = true;
    }
    let answer = match ran {
        Ok(Ok(())) => overflow.deliver(reply.bytes(), &mut view.memory[buffer], ResultSource::Data),
        Ok(Err(status)) => status.code(),
        Err(reason @ (Exceeded::Written | Exceeded::Reply)) if budget.has_changed() => {
            return Err(HostTrap::CutOff(reason).into());
        }
        Err(Exceeded::Written | Exceeded::Reply) => Status::Limit.code(),
        Err(Exceeded::Work) => return guest.end_for_work(work),
        Err(Exceeded::Stopped) => return Err(guest.end_for_stop()),
    };
    guest.charge(work)?;
    Ok(answer)
}

/// Finds the arguments in an array of bulk strings, or in no bytes at all, which means no
/// arguments.
pub(super) fn scan(scanner: &mut RequestScanner, args: &[u8]) -> bool {
    match args.first() {
        None => true,
        Some(b'*') => {
            let complete = Scan::Complete {
                consumed: args.len(),
            };
            let found = scanner.scan(args) == Ok(complete);
            if !found {
                // A scanner that stopped half-way would continue there with other bytes.
                *scanner = RequestScanner::new(ARGUMENT_BOUNDS);
            }
            found
        }
        Some(_) => false,
    }
}
