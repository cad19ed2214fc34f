//! Changes a function's own configuration while it serves calls.

use std::sync::Arc;

use super::Runtime;
use crate::error::CallError;
use crate::policy::function_config::FunctionConfig;
use crate::service::registered_function::RegisteredFunction;
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
                        Some(function) => {
                            let stats = Arc::clone(before.stats());
                            RegisteredFunction::ready(record, stats, function)
                        }
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
}
