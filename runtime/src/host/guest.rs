//! A host function's view of the guest that called it: its memory, its state, its fuel.

use std::ops::Range;
use std::time::{Duration, Instant};

use wasmtime::Caller;

use crate::call::fuel_account::SLICE_UNITS;
use crate::call::host_trap::HostTrap;
use crate::call::settlement::settle;
use crate::call::state::{CallState, StoreData};
use crate::host::fuel;
use ferrite_protocol::keyspace::Keyspace;

/// The guest that called a host function.
pub(crate) struct Guest<'a, K: Keyspace> {
    caller: Caller<'a, StoreData<K>>,
    name: &'static str,
    bytes: u64,
}

impl<'a, K: Keyspace> Guest<'a, K> {
    /// Returns the guest that called the host function of this name.
    #[inline]
    pub(crate) fn new(caller: Caller<'a, StoreData<K>>, name: &'static str) -> Self {
        Self {
            caller,
            name,
            bytes: 0,
        }
    }

    /// Runs the host function, and counts it if the call is profiled.
    #[inline]
    pub(crate) fn run<R>(
        mut self,
        function: impl FnOnce(&mut Self) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R> {
        if self.caller.data().host_calls.is_none() {
            return function(&mut self);
        }
        let entered = Instant::now();
        let result = function(&mut self);
        let (name, bytes, time) = (self.name, self.bytes, entered.elapsed());
        if let Some(calls) = &mut self.caller.data_mut().host_calls {
            calls.count(name, bytes, time);
        }
        result
    }

    /// Counts a host function that waited, if the call is profiled.
    #[cold]
    pub(crate) fn count(&mut self, time: Duration) {
        let (name, bytes) = (self.name, self.bytes);
        if let Some(calls) = &mut self.caller.data_mut().host_calls {
            calls.count(name, bytes, time);
        }
    }

    /// Returns the host function's name.
    #[inline]
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the call's state.
    #[inline]
    pub(crate) fn state(&mut self) -> &mut CallState<K> {
        self.caller.data_mut()
    }

    /// Takes `units` of fuel from the guest; traps if it has less.
    #[inline]
    pub(crate) fn charge(&mut self, units: u64) -> wasmtime::Result<()> {
        if self.caller.data_mut().fuel.charge(units) {
            return Ok(());
        }
        self.settle(units, &[])
    }

    /// Takes `units` of fuel, and the fuel for the bytes of `inputs`, each a pointer and a length.
    ///
    /// Call it before reading the bytes.
    #[inline]
    pub(crate) fn charge_inputs(
        &mut self,
        units: u64,
        inputs: &[(i32, i32)],
    ) -> wasmtime::Result<()> {
        let count = inputs
            .iter()
            .map(|&(_, len)| u64::from(len.cast_unsigned()))
            .sum::<u64>();
        let extra = self.caller.data_mut().data.take_extra_work();
        let units = units.saturating_add(extra);
        self.charge_for(units, count, inputs)
    }

    /// Takes `units` of fuel, and the fuel for `count` bytes.
    ///
    /// A guest with too little fuel traps with the same reason as a guest with enough would: if one
    /// of the `spans`, each a pointer and a length, is outside its memory, that is the reason.
    #[inline]
    pub(crate) fn charge_for(
        &mut self,
        units: u64,
        count: u64,
        spans: &[(i32, i32)],
    ) -> wasmtime::Result<()> {
        self.bytes = self.bytes.saturating_add(count);
        let units = units.saturating_add(fuel::bytes(count));
        if self.caller.data_mut().fuel.charge(units) {
            return Ok(());
        }
        self.settle(units, spans)
    }

    /// Settles the fuel of guest and host, which has just charged `units`. Ends the guest if it has used more than it may, or if
    /// one of `spans` is outside its memory; at the end of its slice, also if its time is over or
    /// it was killed.
    #[cold]
    fn settle(&mut self, units: u64, spans: &[(i32, i32)]) -> wasmtime::Result<()> {
        if units >= SLICE_UNITS {
            self.caller.data_mut().held_thread = true;
        }
        if !spans.is_empty() {
            let view = self.view()?;
            for &(pointer, len) in spans {
                view.span(pointer, len)?;
            }
        }
        let settlement = settle(&mut self.caller)?;
        if settlement.left < 0 {
            self.caller.data_mut().check_stop()?;
        }
        settlement.apply(&mut self.caller)
    }

    /// Takes the fuel for `count` bytes, and another `units`.
    #[inline]
    pub(crate) fn charge_bytes(&mut self, units: u64, count: u64) -> wasmtime::Result<()> {
        self.charge_for(units, count, &[])
    }

    /// Ends the guest: a command needs more than the `work` that it may use. If only this try may use
    /// no more, the call is run again.
    #[cold]
    pub(crate) fn end_for_work<R>(&mut self, work: u64) -> wasmtime::Result<R> {
        if self.caller.data().fuel.has_more_than_this_try() {
            return Err(HostTrap::NeedsFiber.into());
        }
        self.charge(work)?;
        Err(wasmtime::Trap::OutOfFuel.into())
    }

    /// Returns the reason why a call ends that a command found to be at its end.
    #[cold]
    pub(crate) fn end_for_stop(&mut self) -> wasmtime::Error {
        match self.state().check_stop() {
            Err(stop) => stop.into(),
            // The deadline has passed, so it cannot be ahead again.
            Ok(()) => HostTrap::Killed.into(),
        }
    }

    /// Returns the guest's memory together with the call's state.
    #[inline]
    pub(crate) fn view(&mut self) -> wasmtime::Result<GuestView<'_, K>> {
        let memory = self.caller.data().memory.ok_or(HostTrap::NoMemory {
            function: self.name,
        })?;
        let (memory, state) = memory.data_and_store_mut(&mut self.caller);
        Ok(GuestView {
            name: self.name,
            memory,
            state,
        })
    }
}

/// A guest's memory together with the call's state.
pub(crate) struct GuestView<'a, K: Keyspace> {
    name: &'static str,
    /// The guest's whole memory.
    pub(crate) memory: &'a mut [u8],
    /// The call's state.
    pub(crate) state: &'a mut CallState<K>,
}

impl<K: Keyspace> GuestView<'_, K> {
    /// Returns the range of the `len` bytes at `pointer`, both read as unsigned; traps if they are
    /// not all inside the memory.
    #[inline]
    pub(crate) fn span(&self, pointer: i32, len: i32) -> Result<Range<usize>, HostTrap> {
        self.span_of(pointer.cast_unsigned(), u64::from(len.cast_unsigned()))
    }

    /// Like `span`, for a length that is no parameter.
    #[inline]
    pub(crate) fn span_of(&self, pointer: u32, len: u64) -> Result<Range<usize>, HostTrap> {
        span(self.memory, self.name, pointer, len)
    }

    /// Reads a little-endian `u32` at `pointer`, itself read as unsigned.
    pub(crate) fn read_u32(&self, pointer: u32) -> Result<u32, HostTrap> {
        let span = self.span_of(pointer, 4)?;
        let bytes = self.memory[span].first_chunk().copied();
        Ok(bytes.map(u32::from_le_bytes).unwrap_or_default())
    }

    /// Writes `bytes` at `pointer`.
    pub(crate) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), HostTrap> {
        let span = self.span_of(pointer, bytes.len() as u64)?;
        self.memory[span].copy_from_slice(bytes);
        Ok(())
    }
}

/// Returns the range of the `len` bytes at `pointer` in a guest's memory; `function` names the host
/// function in the trap.
#[inline]
pub(crate) fn span(
    memory: &[u8],
    function: &'static str,
    pointer: u32,
    len: u64,
) -> Result<Range<usize>, HostTrap> {
    let end = u64::from(pointer).saturating_add(len);
    if end <= memory.len() as u64
        && let Ok(end) = usize::try_from(end)
    {
        return Ok(pointer as usize..end);
    }
    Err(HostTrap::OutOfBounds {
        function,
        pointer,
        len,
        memory_bytes: memory.len(),
    })
}

/// Passes two inputs and an output in one memory to `show`. If the output overlaps an input, which
/// no sensible guest does, the inputs are copied first.
#[inline]
pub(crate) fn inputs_and_output<R>(
    memory: &mut [u8],
    first: Range<usize>,
    second: Range<usize>,
    output: Range<usize>,
    show: impl FnOnce(&[u8], &[u8], &mut [u8]) -> R,
) -> R {
    match memory.get_disjoint_mut([first.clone(), second.clone(), output.clone()]) {
        Ok([first, second, output]) => show(first, second, output),
        Err(_) => {
            let (first, second) = (memory[first].to_vec(), memory[second].to_vec());
            show(&first, &second, &mut memory[output])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::inputs_and_output;

    #[test]
    fn overlapping_inputs_are_read_before_the_output_is_written() {
        for (first, second, output) in [
            (0..2, 2..4, 4..6),
            (0..2, 0..2, 4..6),
            (0..2, 2..4, 1..3),
            (4..4, 4..4, 4..4),
            (0..8, 0..8, 0..8),
        ] {
            let mut memory = *b"01234567";
            let (a, b) = (
                memory[first.clone()].to_vec(),
                memory[second.clone()].to_vec(),
            );
            inputs_and_output(
                &mut memory,
                first,
                second,
                output.clone(),
                |first, second, out| {
                    out.fill(b'-');
                    assert_eq!((first, second), (&a[..], &b[..]));
                },
            );
            assert!(memory[output].iter().all(|&byte| byte == b'-'));
        }
    }
}
