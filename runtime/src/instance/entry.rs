//! Runs each kind of entry on an instance.

use std::ops::Range;

use ferrite_cache::EntryKind;
use wasmtime::{Func, Val};

use super::{Buffers, EntryFunc, Instance, Mode, Reusable, client_error, note_refused};
use crate::call::host_trap::HostTrap;
use crate::call::reply_builder::DEPTH_MAX;
use crate::call::scalar_values;
use crate::call::settlement::settle;
use crate::call::state::CallState;
use crate::error::CallError;
use crate::host::fuel;
use crate::instance::linked_module::{Entry, LinkedModule};
use crate::instance::typed_func::ScalarFunc;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::{Encoder, Protocol, ReplyBounds, transcode};

/// Reason why an entry gave no reply, for its caller.
pub(crate) enum RunFailure {
    /// The client's error, and if the instance may serve other calls all the same.
    Failed(CallError, Reusable),
    /// The call has to be run again, by an instance whose mode is [`Mode::Fiber`].
    NeedsFiber,
}

/// Reason why an entry gave no reply.
pub(crate) enum RunError {
    /// The guest did not return; its instance is lost.
    Guest(wasmtime::Error),
    /// The guest returned something that is not a reply.
    Reply(CallError),
}

impl<T: Into<wasmtime::Error>> From<T> for RunError {
    fn from(error: T) -> Self {
        Self::Guest(error.into())
    }
}

impl<K: Keyspace> Instance<K> {
    /// Runs an entry, which leaves its reply in the state's [`ReplyBuilder`].
    ///
    /// `args` are the parsed arguments of a scalar entry. `serves_again` is true if the instance will
    /// serve other calls, so that buffers must be given back to the guest's allocator.
    ///
    /// # Errors
    ///
    /// The client's error, or the need for another instance.
    ///
    /// [`ReplyBuilder`]: crate::call::reply_builder::ReplyBuilder
    pub(crate) async fn run(
        &mut self,
        module: &LinkedModule<K>,
        index: usize,
        args: &[Val],
        serves_again: bool,
    ) -> Result<(), RunFailure> {
        let entry = &module.entries()[index];
        let result = match entry.kind {
            EntryKind::Command => self.run_command(entry, index).await,
            EntryKind::Scalar => self.run_scalar(entry, index, args).await,
            EntryKind::Buffer => self.run_buffer(module, entry, index, serves_again).await,
        };
        // Settle even if the guest failed, to report the fuel it used.
        let settled = settle(&mut self.store).map(|_| ()).map_err(RunError::Guest);
        match result.and(settled) {
            Ok(()) => Ok(()),
            Err(RunError::Reply(error)) => Err(RunFailure::Failed(error, Reusable::Yes)),
            Err(RunError::Guest(error))
                if matches!(error.downcast_ref(), Some(HostTrap::NeedsFiber)) =>
            {
                Err(RunFailure::NeedsFiber)
            }
            Err(RunError::Guest(error)) => {
                note_refused(&mut self.store, &self.instance, module);
                let error = client_error(&error, self.store.data(), module);
                Err(RunFailure::Failed(error, Reusable::No))
            }
        }
    }

    async fn run_command(&mut self, entry: &Entry, index: usize) -> Result<(), RunError> {
        if self.entries[index].is_none() {
            let func = self.func(entry)?.typed(&self.store)?;
            self.entries[index] = Some(EntryFunc::Command(func));
        }
        let Some(EntryFunc::Command(func)) = &self.entries[index] else {
            return Err(no_such_func(entry).into());
        };
        match self.mode {
            Mode::Direct => func.call(&mut self.store, ())?,
            Mode::Fiber => func.call_async(&mut self.store, ()).await?,
        }
        Ok(())
    }

    async fn run_scalar(
        &mut self,
        entry: &Entry,
        index: usize,
        args: &[Val],
    ) -> Result<(), RunError> {
        if self.entries[index].is_none() {
            let func = self.func(entry)?;
            let func = ScalarFunc::new(func, &entry.signature, &self.store)?;
            self.entries[index] = Some(EntryFunc::Scalar(func));
        }
        let Some(EntryFunc::Scalar(func)) = &self.entries[index] else {
            return Err(no_such_func(entry).into());
        };
        let mut results = scalar_values::empty_results(&entry.signature);
        match self.mode {
            Mode::Direct => func.call(&mut self.store, args, &mut results)?,
            Mode::Fiber => {
                func.call_async(&mut self.store, args, &mut results).await?;
            }
        }
        scalar_values::reply(&mut self.store.data_mut().reply, &results)
            .map_err(|problem| RunError::Reply(CallError::limit(problem.to_string())))
    }

    async fn run_buffer(
        &mut self,
        module: &LinkedModule<K>,
        entry: &Entry,
        index: usize,
        serves_again: bool,
    ) -> Result<(), RunError> {
        if self.entries[index].is_none() {
            let func = self.func(entry)?.typed(&self.store)?;
            self.entries[index] = Some(EntryFunc::Buffer(func));
        }
        let buffers = self.buffers(module)?;
        let input_len = self.encode_input()?;
        let input = match self.mode {
            Mode::Direct => buffers.alloc.call(&mut self.store, input_len)?,
            Mode::Fiber => buffers.alloc.call_async(&mut self.store, input_len).await?,
        };
        self.write_input(input, input_len)?;
        let Some(EntryFunc::Buffer(func)) = &self.entries[index] else {
            return Err(no_such_func(entry).into());
        };
        let packed = match self.mode {
            Mode::Direct => func.call(&mut self.store, (input, input_len))?,
            Mode::Fiber => func.call_async(&mut self.store, (input, input_len)).await?,
        }
        .cast_unsigned();
        let [output, output_len] = [packed >> 32, packed & u64::from(u32::MAX)]
            .map(|half| u32::try_from(half).unwrap_or(u32::MAX).cast_signed());
        let reply = self.read_reply(output, output_len)?;
        // Only for instances that serve many calls without a reset; those run on a stack of their
        // own.
        if serves_again && let Some(dealloc) = &buffers.dealloc {
            dealloc
                .call_async(&mut self.store, (input, input_len))
                .await?;
            // A reply that starts where the input does was freed with it.
            if output != input && output_len != 0 {
                dealloc
                    .call_async(&mut self.store, (output, output_len))
                    .await?;
            }
        }
        reply.map_err(RunError::Reply)
    }

    /// Writes `[keys, args]` as RESP into the state's buffer. Returns the length.
    fn encode_input(&mut self) -> Result<i32, RunError> {
        let CallState {
            input,
            command_reply: out,
            ..
        } = &mut **self.store.data_mut();
        out.clear();
        out.set_protocol(Protocol::Resp2);
        out.array(2);
        out.array(input.key_count());
        input.keys().for_each(|key| out.bulk(key));
        out.array(input.arg_count());
        input.args().for_each(|arg| out.bulk(arg));
        i32::try_from(out.len()).map_err(|_| {
            RunError::Reply(CallError::limit(format!(
                "keys and arguments take {} bytes, which no guest can hold; give fewer",
                out.len()
            )))
        })
    }

    fn write_input(&mut self, pointer: i32, len: i32) -> Result<(), RunError> {
        self.charge_bytes(len)?;
        let memory = self.memory()?;
        let (memory, state) = memory.data_and_store_mut(&mut self.store);
        let target = slice(memory, pointer, len, "the buffer that alloc returned")?;
        memory[target].copy_from_slice(state.command_reply.bytes());
        Ok(())
    }

    /// Reads the reply from the guest's memory. The outer error ends the guest; the inner error
    /// explains why the bytes are not a reply.
    fn read_reply(&mut self, pointer: i32, len: i32) -> Result<Result<(), CallError>, RunError> {
        self.charge_bytes(len)?;
        let memory = self.memory()?;
        let (memory, state) = memory.data_and_store_mut(&mut self.store);
        let source = slice(memory, pointer, len, "the reply that the entry returned")?;
        let reply = &mut state.reply;
        let bounds = ReplyBounds {
            bytes_max: reply.bytes_max(),
            depth_max: DEPTH_MAX,
        };
        // A buffer entry that also pushes values would have two replies.
        Ok(reply
            .whole()
            .map_err(|problem| CallError::invalid(problem.to_string()))
            .and_then(|out: &mut Encoder| {
                transcode(&memory[source], &bounds, out).map_err(|problem| {
                    CallError::invalid(format!("the entry returned no reply: {problem}"))
                })
            }))
    }

    /// Charges the fuel for bytes that the host copies into or out of the guest.
    fn charge_bytes(&mut self, len: i32) -> Result<(), RunError> {
        let units = fuel::bytes(u64::from(len.cast_unsigned()));
        if self.store.data_mut().fuel.charge(units) {
            return Ok(());
        }
        let settlement = settle(&mut self.store)?;
        Ok(settlement.apply(&mut self.store)?)
    }

    fn memory(&self) -> Result<wasmtime::Memory, HostTrap> {
        self.store.data().memory.ok_or(HostTrap::NoMemory {
            function: "a buffer entry",
        })
    }

    fn buffers(&mut self, module: &LinkedModule<K>) -> wasmtime::Result<Buffers> {
        if let Some(buffers) = &self.buffers {
            return Ok(buffers.clone());
        }
        let exports = module.exports();
        let mut find = |export: &Option<wasmtime::ModuleExport>| {
            export.as_ref().and_then(|export| {
                self.instance
                    .get_module_export(&mut self.store, export)
                    .and_then(wasmtime::Extern::into_func)
            })
        };
        let (alloc, dealloc) = (find(&exports.alloc), find(&exports.dealloc));
        let alloc = alloc.ok_or_else(|| {
            wasmtime::Error::msg("a buffer entry needs an exported alloc(size) -> pointer")
        })?;
        let buffers = Buffers {
            alloc: alloc.typed(&self.store)?,
            // An export of that name with another type is not the allocator's counterpart.
            dealloc: dealloc.and_then(|dealloc| dealloc.typed(&self.store).ok()),
        };
        self.buffers = Some(buffers.clone());
        Ok(buffers)
    }

    fn func(&mut self, entry: &Entry) -> wasmtime::Result<Func> {
        self.instance
            .get_module_export(&mut self.store, &entry.export)
            .and_then(wasmtime::Extern::into_func)
            .ok_or_else(|| no_such_func(entry))
    }
}

/// Returns the range of a memory at `pointer` and `len`, both read as unsigned.
fn slice(
    memory: &[u8],
    pointer: i32,
    len: i32,
    what: &'static str,
) -> Result<Range<usize>, HostTrap> {
    let (pointer, len) = (pointer.cast_unsigned(), len.cast_unsigned());
    let start = pointer as usize;
    match start.checked_add(len as usize) {
        Some(end) if end <= memory.len() => Ok(start..end),
        _ => Err(HostTrap::ReturnedOutOfBounds {
            what,
            pointer,
            len,
            memory_bytes: memory.len(),
        }),
    }
}

#[cold]
fn no_such_func(entry: &Entry) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the module has no function \"{}\"", entry.name))
}
