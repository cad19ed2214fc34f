//! Keeps a guest's memory and tables within their limits, and records the limit that it hit.

use wasmtime::ResourceLimiter;

/// A limit that a guest hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitHit {
    /// A larger memory.
    Memory {
        /// The limit, in bytes.
        limit_bytes: u64,
        /// The size asked for, in bytes.
        wanted_bytes: u64,
    },
    /// A larger table.
    Table {
        /// The limit, in elements.
        limit_elements: u64,
        /// The elements asked for.
        wanted_elements: u64,
    },
    /// A call that nests too deep.
    Depth {
        /// The limit.
        limit: u32,
    },
    /// The stack that the guest's compiler keeps in the linear memory. Only an access out of bounds
    /// is its end.
    LinearStack,
}

/// Bytes of the largest memory there can be, which is also the maximum of a memory that declares none.
const MEMORY_BYTES_END: u64 = 4 << 30;

/// Size of the table that metering adds to every module: exactly one element. Such tables are not
/// counted.
const METER_TABLE: (usize, usize, Option<usize>) = (0, 1, Some(1));

/// The limits of one instance's memory and tables.
///
/// Growth past a limit answers -1 to the guest, as WebAssembly has it. Most guests trap then, in
/// a way that says nothing about memory, so the refusal is remembered for the error.
#[derive(Clone, Debug)]
pub(crate) struct GuestLimiter {
    memory_bytes_max: u64,
    table_elements_max: u64,
    refused: Option<LimitHit>,
    memory_bytes: u64,
    /// Of all tables together.
    table_elements: u64,
}

impl GuestLimiter {
    /// Limits for a new instance.
    #[must_use]
    pub(crate) fn new(memory_bytes_max: u64, table_elements_max: u64) -> Self {
        Self {
            memory_bytes_max,
            table_elements_max,
            refused: None,
            memory_bytes: 0,
            table_elements: 0,
        }
    }

    /// Returns the last limit that the guest hit in this call.
    #[must_use]
    pub(crate) fn refused(&self) -> Option<LimitHit> {
        self.refused
    }

    /// Records that a call would have nested deeper than `limit`.
    pub(crate) fn note_too_deep(&mut self, limit: u32) {
        self.refused = Some(LimitHit::Depth { limit });
    }

    /// Remembers that the stack in the linear memory has run out, unless another limit was hit.
    pub(crate) fn note_linear_stack(&mut self) {
        self.refused.get_or_insert(LimitHit::LinearStack);
    }

    /// Bytes of linear memory that the instance has. Within a call memories never shrink, so this is
    /// also the most that it had in the call.
    #[must_use]
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Records the size of the memory after it was reset to its first state.
    pub(crate) fn memory_is_rewound(&mut self, memory_bytes: u64) {
        self.memory_bytes = memory_bytes;
    }

    /// Forgets refusals before the next call of the same instance.
    pub(crate) fn begin_call(&mut self) {
        self.refused = None;
    }

    /// Forgets the instance before its buffers serve another.
    pub(crate) fn begin_instance(&mut self) {
        self.refused = None;
        self.memory_bytes = 0;
        self.table_elements = 0;
    }
}

impl ResourceLimiter for GuestLimiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Past the module's own maximum wasmtime refuses by itself, whatever the limit is.
        let own = maximum.filter(|&maximum| (maximum as u64) < MEMORY_BYTES_END);
        if own.is_some_and(|own| desired > own) {
            return Ok(true);
        }
        let wanted_bytes = (desired as u64).min(MEMORY_BYTES_END);
        if wanted_bytes > self.memory_bytes_max {
            self.refused = Some(LimitHit::Memory {
                limit_bytes: self.memory_bytes_max,
                wanted_bytes,
            });
            return Ok(false);
        }
        if desired as u64 <= MEMORY_BYTES_END {
            self.memory_bytes = wanted_bytes;
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if (current, desired, maximum) == METER_TABLE {
            return Ok(true);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true);
        }
        let others = self.table_elements.saturating_sub(current as u64);
        let wanted_elements = others.saturating_add(desired as u64);
        if wanted_elements > self.table_elements_max {
            self.refused = Some(LimitHit::Table {
                limit_elements: self.table_elements_max,
                wanted_elements,
            });
            return Ok(false);
        }
        self.table_elements = wanted_elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter as _;

    use super::{GuestLimiter, LimitHit};

    #[test]
    fn growth_past_a_limit_is_refused_and_remembered() {
        let mut limiter = GuestLimiter::new(1 << 16, 10);
        assert!(limiter.memory_growing(0, 1 << 16, None).expect("an answer"));
        assert_eq!(limiter.refused(), None);
        assert!(
            !limiter
                .memory_growing(1 << 16, 1 << 17, None)
                .expect("an answer")
        );
        assert_eq!(
            limiter.refused(),
            Some(LimitHit::Memory {
                limit_bytes: 1 << 16,
                wanted_bytes: 1 << 17
            })
        );
        assert_eq!(limiter.memory_bytes(), 1 << 16);
        limiter.begin_call();
        assert!(limiter.table_growing(0, 10, None).expect("an answer"));
        assert!(!limiter.table_growing(10, 11, None).expect("an answer"));
        // A second table shares the limit with the first.
        assert!(!limiter.table_growing(0, 1, None).expect("an answer"));
        assert!(matches!(limiter.refused(), Some(LimitHit::Table { .. })));
    }

    #[test]
    fn a_modules_own_maximum_is_no_limit_of_ours() {
        let mut limiter = GuestLimiter::new(1 << 16, 10);
        assert!(
            limiter
                .memory_growing(0, 1 << 20, Some(1 << 17))
                .expect("an answer")
        );
        assert!(limiter.table_growing(0, 1000, Some(20)).expect("an answer"));
        assert_eq!((limiter.refused(), limiter.memory_bytes()), (None, 0));
        // A memory without a maximum has this one.
        let grown = limiter.memory_growing(0, 1 << 40, Some(4 << 30));
        assert!(!grown.expect("an answer"));
        assert_eq!(
            limiter.refused(),
            Some(LimitHit::Memory {
                limit_bytes: 1 << 16,
                wanted_bytes: 4 << 30
            })
        );
    }
}
