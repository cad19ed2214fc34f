//! The host functions that a call used, counted for profiles only.

use std::time::Duration;

/// The host functions that a call used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCalls(Vec<HostCall>);

/// One call's use of a host function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// The function's name.
    pub name: &'static str,
    /// Number of calls.
    pub calls: u64,
    /// Bytes that it read or wrote for the guest.
    pub bytes: u64,
    /// Time that it took, all calls together.
    pub time: Duration,
}

impl HostCalls {
    /// Counts one call.
    pub fn count(&mut self, name: &'static str, bytes: u64, time: Duration) {
        let Self(calls) = self;
        let index = calls
            .iter()
            .position(|call| call.name == name)
            .unwrap_or_else(|| {
                calls.push(HostCall {
                    name,
                    calls: 0,
                    bytes: 0,
                    time: Duration::ZERO,
                });
                calls.len() - 1
            });
        let call = &mut calls[index];
        call.calls += 1;
        call.bytes = call.bytes.saturating_add(bytes);
        call.time = call.time.saturating_add(time);
    }

    /// Every host function that was called, in the order of its first call.
    #[must_use]
    pub fn as_slice(&self) -> &[HostCall] {
        &self.0
    }
}
