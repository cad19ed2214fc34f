//! `call`: any data command of the host, by name, inside the call's transaction.

use ferrite_wasm_abi::Status;
use smallvec::SmallVec;
use wasmtime::Result;

use crate::call::data_access::CommandRefused;
use crate::call::overflow::ResultSource;
use crate::call::state::{ARGUMENT_BOUNDS, CallState};
use crate::error::Quoted;
use crate::host::fuel;
use crate::host::guest::Guest;
use crate::host::restricted_scan;
use ferrite_protocol::keyspace::{DescribeError, Keyspace, Transaction};
use ferrite_protocol::resp::{Encoder, Protocol, RequestScanner, Scan};

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
    let CallState {
        data,
        overflow,
        arguments,
        command_reply,
        ..
    } = view.state;

    let mut pages = 0;
    let argv_len = {
        let args = &view.memory[args];
        if !scan(arguments, args) {
            return Ok(Status::Invalid.code());
        }
        let mut argv: SmallVec<[&[u8]; 16]> = SmallVec::new();
        argv.push(&view.memory[name]);
        if !args.is_empty() {
            argv.extend(arguments.arguments(args));
        }
        command_reply.clear();
        command_reply.set_protocol(Protocol::Resp2);
        match data.open_command(&argv) {
            Ok((transaction, access_policy)) => {
                let visible = |key: &[u8]| access_policy.visible(key);
                if access_policy.restricts_keys() && restricted_scan::is_scan(&argv) {
                    pages = restricted_scan::answer(transaction, &argv, &visible, command_reply);
                } else {
                    transaction.call(&argv, &visible, command_reply);
                }
            }
            Err(CommandRefused::Status(status)) => return Ok(status.code()),
            Err(CommandRefused::NoCommand(reason)) => refuse(command_reply, argv[0], reason),
        }
        argv.len() as u64
    };
    let produced = command_reply.len() as u64;
    let answer = overflow.deliver(
        command_reply.bytes(),
        &mut view.memory[buffer],
        ResultSource::Data,
    );
    let units = argv_len
        .saturating_mul(fuel::CALL)
        .saturating_add(fuel::COMMAND.saturating_mul(pages));
    guest.charge_bytes(units, produced)?;
    Ok(answer)
}

/// Finds the arguments in an array of bulk strings, or in no bytes at all, which means no
/// arguments.
fn scan(scanner: &mut RequestScanner, args: &[u8]) -> bool {
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

/// Returns the error reply of the host's own front end for a command that it refuses.
fn refuse(reply: &mut Encoder, name: &[u8], reason: DescribeError) {
    let name = Quoted(name);
    match reason {
        DescribeError::UnknownCommand => {
            reply.error_display(&format_args!("ERR unknown command {name}"));
        }
        DescribeError::WrongArity => {
            reply.error_display(&format_args!(
                "ERR wrong number of arguments for {name} command"
            ));
        }
    }
}
