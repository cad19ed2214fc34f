//! Changes of the registry, and how replicas and the append-only file learn of them.
//!
//! What travels is the function's record: its name, the digest of its source, and what it may do.
//! Code never travels this way. Records are read and handed to the server under its lock, so that
//! the last record of a name that goes out is the last one that held, whatever ran at once.

use ferrite_runtime::commands::{Right, Spec};
use ferrite_runtime::record::Record;
use ferrite_runtime::resp::{Encoder, Protocol};

use crate::call::Call;
use crate::context::Context;
use crate::module::Module;
use crate::persist;
use crate::place::Beside;

/// Registers a function as another server has it; its one argument is the record.
pub(crate) const REGISTER: &std::ffi::CStr = c"WASM.REGISTER";
/// Forgets a function; its one argument is the name.
pub(crate) const FORGET: &std::ffi::CStr = c"WASM.FORGET";

/// Runs a command that blocks, and spreads what it changed; the reply.
pub(crate) fn run(
    module: &'static Module,
    spec: &'static Spec,
    call: &Call,
    beside: &Beside,
    protocol: Protocol,
) -> Vec<u8> {
    let slices = call.words.slices();
    let mut reply = Encoder::new(protocol);
    match spec.read(&slices) {
        Err(error) => reply.error_display(&error),
        Ok(command) => {
            module.runtime.run_blocking(command, &mut reply);
            let changed = spec.right == Right::Manage && !reply.bytes().starts_with(b"-");
            if let Some(name) = slices.get(1).filter(|_| changed) {
                beside.locked(|context| tell(module, context, name));
            }
        }
    }
    reply.take()
}

/// Tells replicas and the append-only file what a name stands for now.
pub(crate) fn tell(module: &Module, context: Context<'_>, name: &[u8]) {
    persist::remember(module);
    let record = module.runtime.function(name).ok();
    let json = record.and_then(|known| serde_json::to_vec(known.record()).ok());
    let (command, argument) = match &json {
        Some(json) => (REGISTER, &json[..]),
        None => (FORGET, name),
    };
    let argument = context.string(argument);
    context.replicate(command, &[argument.borrow()]);
}

/// Runs `WASM.REGISTER`.
pub(crate) fn register(module: &'static Module, context: Context<'_>, json: &[u8]) {
    let record: Record = match serde_json::from_slice(json) {
        Ok(record) => record,
        Err(error) => {
            context.reply_error(&format!("INVALID the record cannot be read: {error}"));
            return;
        }
    };
    let name = record.name.clone();
    match module.runtime.adopt(record) {
        Ok(()) => {
            tell(module, context, name.as_bytes());
            context.reply(b"+OK\r\n");
        }
        Err(error) => context.reply_error(&error.to_string()),
    }
}

/// Runs `WASM.FORGET`.
pub(crate) fn forget(module: &'static Module, context: Context<'_>, name: &[u8]) {
    // One that is not there is forgotten already.
    let _ = module.runtime.unload(name);
    tell(module, context, name);
    context.reply(b"+OK\r\n");
}
