//! Changes a function's own configuration, and the server's limits, while calls are served.

use std::sync::Arc;

use super::Runtime;
use crate::error::CallError;
use crate::policy::function_config::FunctionConfig;
use crate::policy::limits::LimitsError;
use crate::policy::server_limits::ServerLimits;
use ferrite_protocol::keyspace::Keyspace;

impl<K: Keyspace> Runtime<K> {
    /// Changes a function's configuration by a JSON object, and returns the new one. Code and counters
    /// stay. Blocks while the registry is written.
    ///
    /// Running calls finish with the old configuration; later ones begin on new instances.
    ///
    /// # Errors
    ///
    /// There is no such function, the object is wrong, or the code cannot be loaded again; then nothing
    /// has changed.
    pub fn configure(&self, name: &[u8], json: &[u8]) -> Result<FunctionConfig, CallError> {
        let inner = &*self.0;
        loop {
            let before = self.function(name)?;
            let mut record = before.record().clone();
            record.config = record
                .config
                .changed_by(json)
                .map_err(|error| CallError::invalid(error.to_string()))?;
            let config = record.config.clone();
            let arriving = inner.arriving.read();
            let function = match before.function() {
                Some(_) => Some(inner.load_record(&record)?),
                // Its first use loads it.
                None => None,
            };
            let changed = inner.change(|names, _| match names.get_mut(name) {
                Some(current) if Arc::ptr_eq(current, &before) => {
                    *current = Arc::new(match function {
                        Some(function) => inner.entry(record, Some(&before), function),
                        None => before.with_record(record),
                    });
                    Ok(true)
                }
                // Another client changed the function meanwhile.
                _ => Ok(false),
            })?;
            drop(arriving);
            if changed {
                return Ok(config);
            }
        }
    }

    /// Returns the server's limits in force.
    #[must_use]
    pub fn limits(&self) -> ServerLimits {
        *self.0.limits.read()
    }

    /// Checks that [`Runtime::set_limits`] can put these limits into force.
    ///
    /// # Errors
    ///
    /// The engine has no space for tables that are so large.
    pub fn check_limits(&self, limits: &ServerLimits) -> Result<(), LimitsError> {
        limits.check_tables(self.0.options.engine.table_elements_max)
    }

    /// Puts other limits into force, for every load and every call from now on. Running calls finish
    /// with the limits they began with.
    ///
    /// Functions whose limits change by that are loaded again by their next call. One that asks for more
    /// than the new limits allow cannot be called until they allow it again.
    ///
    /// # Errors
    ///
    /// The engine has no space for tables that are so large; then nothing has changed.
    pub fn set_limits(&self, limits: ServerLimits) -> Result<(), LimitsError> {
        self.check_limits(&limits)?;
        let inner = &*self.0;
        // Records stay as they are, so nothing is written.
        inner.registry.change(|names| {
            *inner.limits.write() = limits;
            for registered in names.values_mut() {
                let asked = &registered.record().limits;
                let as_before = registered
                    .function()
                    .zip(limits.of(asked).ok())
                    .is_some_and(|(function, limits)| function.spec().limits == limits);
                if !as_before {
                    // Also one that is being loaded, perhaps with the limits from before.
                    *registered = Arc::new(registered.without_code());
                }
            }
            Ok(())
        })
    }
}
