//! Settles the fuel of guest and host.

use wasmtime::{AsContextMut, Global, Trap, Val};

use crate::call::fuel_account::OutOfFuel;
use crate::call::state::StoreData;
use ferrite_protocol::keyspace::Keyspace;

/// The guest's global, and the rest of the slice that belongs into it if the guest runs on. The rest
/// may be negative.
pub(crate) struct Settlement {
    pub(crate) counter: Global,
    pub(crate) left: i64,
}

impl Settlement {
    /// Writes the rest of the slice into the guest's global.
    pub(crate) fn apply(&self, store: impl AsContextMut) -> wasmtime::Result<()> {
        self.counter.set(store, Val::I64(self.left))
    }
}

/// Settles the fuel of the guest in `store` and of its host.
///
/// # Errors
///
/// [`Trap::OutOfFuel`] if the call has used more than it may.
pub(crate) fn settle<K: Keyspace>(
    mut store: impl AsContextMut<Data = StoreData<K>>,
) -> wasmtime::Result<Settlement> {
    let mut store = store.as_context_mut();
    let counter = store.data().fuel.counter()?;
    let Val::I64(left) = counter.get(&mut store) else {
        return Err(wasmtime::Error::msg("the fuel is counted by no i64"));
    };
    match store.data_mut().fuel.settle(left) {
        Ok(left) => Ok(Settlement { counter, left }),
        Err(OutOfFuel) => Err(Trap::OutOfFuel.into()),
    }
}
