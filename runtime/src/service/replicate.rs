//! Registers functions of another server: one that a primary sends, or all of a data set.

use std::sync::Arc;

use super::Runtime;
use crate::error::CallError;
use crate::registry::record::Record;
use crate::registry::rollback_guard;
use crate::service::registered_function::RegisteredFunction;
use ferrite_protocol::keyspace::Keyspace;

impl<K: Keyspace> Runtime<K> {
    /// Registers a function as another server has it. Its code is loaded when it is needed.
    ///
    /// # Errors
    ///
    /// Its permissions or limits are wrong here, or the registry cannot be written.
    pub fn adopt(&self, record: Record) -> Result<(), CallError> {
        self.0.spec(&record)?;
        self.0.change(|names, sequences| {
            rollback_guard::note(sequences, &record)?;
            let name = record.name.as_bytes();
            if names
                .get(name)
                .is_none_or(|known| *known.record() != record)
            {
                names.insert(name.into(), Arc::new(RegisteredFunction::lazy(record)));
            }
            Ok(())
        })
    }

    /// Registers these functions and unloads all others, for when another server's data is loaded.
    ///
    /// Functions with an equal record stay as they are, including loaded code. A record that is wrong
    /// here is skipped, and its error is in the result.
    ///
    /// # Errors
    ///
    /// The registry cannot be written.
    pub fn adopt_all(&self, records: Vec<Record>) -> Result<Vec<CallError>, CallError> {
        let mut wrong = Vec::new();
        let records: Vec<Record> = records
            .into_iter()
            .filter(|record| match self.0.spec(record) {
                Ok(_) => true,
                Err(error) => {
                    wrong.push(error);
                    false
                }
            })
            .collect();
        self.0.change(|names, sequences| {
            let before = std::mem::take(names);
            for record in records {
                // The data set is accepted as it is; from now on nothing older can be loaded.
                rollback_guard::raise(sequences, &record);
                let registered = match before.get(record.name.as_bytes()) {
                    Some(known) if *known.record() == record => Arc::clone(known),
                    _ => Arc::new(RegisteredFunction::lazy(record)),
                };
                names.insert(registered.record().name.as_bytes().into(), registered);
            }
            Ok(())
        })?;
        Ok(wrong)
    }
}
