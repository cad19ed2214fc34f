//! Functions as another server has them: one that a primary tells of, or all of what its data holds.

use std::sync::Arc;

use super::Runtime;
use crate::error::CallError;
use crate::registry::record::Record;
use crate::registry::rollback_guard;
use crate::service::registered_function::RegisteredFunction;
use ferrite_protocol::keyspace::Keyspace;

impl<K: Keyspace> Runtime<K> {
    /// Registers a function as another server has it. Its code is fetched when it is needed.
    ///
    /// # Errors
    ///
    /// When its permissions or limits are wrong here, or the registry cannot be written.
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

    /// Registers these functions and forgets all others, as when another server's data is loaded.
    ///
    /// Those that are registered just so already stay as they are, loaded code included. A record
    /// that is wrong here is left out, and told about in the result.
    ///
    /// # Errors
    ///
    /// When the registry cannot be written.
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
                // What the data holds is taken as it is; nothing older is loaded over it.
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
