//! The memory that arriving requests of all connections may take together.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes of large requests while they arrive, over all connections.
#[derive(Debug, Default)]
pub(crate) struct RequestMemory {
    bytes: AtomicU64,
}

/// One connection's share of the counted bytes, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryReservation<'a> {
    memory: &'a RequestMemory,
    bytes: u64,
}

impl RequestMemory {
    /// A reservation of no bytes yet.
    pub(crate) const fn reserve(&self) -> MemoryReservation<'_> {
        MemoryReservation {
            memory: self,
            bytes: 0,
        }
    }

    /// Bytes that all connections have reserved.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl MemoryReservation<'_> {
    /// Changes the reservation to `bytes`. Returns true if all reservations together are then at
    /// most `bytes_max`.
    pub(crate) fn resize(&mut self, bytes: u64, bytes_max: u64) -> bool {
        let total = &self.memory.bytes;
        let others = if bytes >= self.bytes {
            total.fetch_add(bytes - self.bytes, Ordering::Relaxed)
        } else {
            total.fetch_sub(self.bytes - bytes, Ordering::Relaxed)
        } - self.bytes;
        self.bytes = bytes;
        others.saturating_add(bytes) <= bytes_max
    }
}

impl Drop for MemoryReservation<'_> {
    fn drop(&mut self) {
        self.memory.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::RequestMemory;

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let memory = RequestMemory::default();
        let mut one = memory.reserve();
        let mut other = memory.reserve();
        assert!(one.resize(60, 100));
        assert!(other.resize(40, 100));
        assert!(!one.resize(61, 100));
        assert!(one.resize(10, 100));
        assert!(other.resize(90, 100));
        drop(other);
        assert_eq!(memory.bytes(), 10);
        drop(one);
        assert_eq!(memory.bytes(), 0);
    }
}
