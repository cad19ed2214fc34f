//! Registers functions of another server: one that a primary sends, or all of a data set.

use std::sync::Arc;

use super::{Inner, Runtime};
use crate::artifact::signed_bundle;
use crate::error::CallError;
use crate::registry::record::Record;
use crate::registry::rollback_guard;
use crate::service::registered_function::RegisteredFunction;
use ferrite_protocol::keyspace::Keyspace;

impl<K: Keyspace> Runtime<K> {
    /// Registers a function as another server has it. Its code is loaded when it is needed.
    ///
    /// Where only signed code is loaded, what the record says of its release is checked. If it is wrong,
    /// the function is registered, and every call of it fails with the reason.
    ///
    /// # Errors
    ///
    /// Its permissions or limits are wrong here, or the registry cannot be written.
    pub fn adopt(&self, record: Record) -> Result<(), CallError> {
        self.0.spec(&record)?;
        self.0.change(|names, sequences| {
            let known = names.get(record.name.as_bytes());
            if known.is_some_and(|known| *known.record() == record) {
                return Ok(());
            }
            let arrived = Arc::new(self.0.arrived(record));
            let record = arrived.record();
            // What is refused says nothing that counts.
            if !arrived.is_refused() {
                rollback_guard::note(sequences, record)?;
            }
            names.insert(record.name.as_bytes(), Arc::clone(&arrived));
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
                let registered = match before.get(record.name.as_bytes()) {
                    Some(known) if *known.record() == record => Arc::clone(known),
                    _ => Arc::new(self.0.arrived(record)),
                };
                // The data set is accepted as it is; from now on nothing older can be loaded.
                if !registered.is_refused() {
                    rollback_guard::raise(sequences, registered.record());
                }
                let name = Arc::clone(&registered);
                names.insert(name.record().name.as_bytes(), registered);
            }
            Ok(())
        })?;
        Ok(wrong)
    }
}

impl<K: Keyspace> Runtime<K> {
    /// Puts the signed manifest of a function's release into the cache, so that the release can be
    /// loaded here by its digest. Blocks.
    pub fn keep_release(&self, record: &Record) {
        let signed = record
            .release
            .as_ref()
            .and_then(|release| release.signed.as_ref());
        // One that cannot be verified would take the place of one that can.
        if let Some(signed) = signed
            && signed.verify(&self.0.bundle_terms().trust.trust).is_ok()
        {
            self.0.artifacts.keep_release(&record.digest, signed);
        }
    }
}

impl<K: Keyspace> Inner<K> {
    /// Makes a function of another server's record.
    fn arrived(&self, record: Record) -> RegisteredFunction<K> {
        let terms = self.bundle_terms();
        let refusal = terms
            .trust
            .require_signed
            .then(|| signed_bundle::check_arrived(&record, &terms).err())
            .flatten();
        if let Some(error) = &refusal {
            tracing::warn!(function = %record.name, %error, "a function of another server is refused");
        }
        RegisteredFunction::arrived(record, refusal)
    }
}
