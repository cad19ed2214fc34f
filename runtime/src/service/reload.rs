//! Replaces the code of a function while it serves calls.

use std::sync::Arc;

use ferrite_cache::Digest;

use super::Runtime;
use crate::artifact::Depth;
use crate::artifact::signed_bundle::RequestedGrant;
use crate::artifact::source::Source;
use crate::automation::declared::{AutomationRights, DeclarationScope};
use crate::error::CallError;
use crate::registry::record::Record;
use crate::registry::rollback_guard;
use ferrite_protocol::keyspace::Keyspace;

impl<K: Keyspace> Runtime<K> {
    /// Replaces the code of a function and keeps everything else. Blocks while the source is compiled.
    ///
    /// Running calls finish on the old code; none fails because of the reload. What the new module declares
    /// takes the place of what the old one declared, in the database for which the function was loaded; `rights` are those of the user.
    ///
    /// # Errors
    ///
    /// The client's error; then nothing has changed.
    pub fn reload(
        &self,
        name: &[u8],
        source: &Source<'_>,
        file: Option<&str>,
        rights: AutomationRights,
    ) -> Result<Digest, CallError> {
        let inner = &*self.0;
        let terms = inner.bundle_terms();
        let first = self.function(name)?;
        let arriving = inner.arriving.read();
        let unpacked = inner.unpack(source, &first.record().name, false)?;
        let release = unpacked.as_ref().map(|one| Box::new(one.release.clone()));
        let mut wanted = first.record().clone();
        let asked = match &unpacked {
            Some(unpacked) => {
                let asked = RequestedGrant::of(unpacked.manifest(), &terms)?;
                // Checked before anything is read, and again against the final record below.
                asked.narrow(&mut wanted, &terms)?;
                Some(asked)
            }
            None => None,
        };
        let depth = Depth::of(&inner.spec(&wanted)?.limits);
        let mut provided = inner.provide(source, unpacked, depth)?;
        let mut added = provided.bytes_added(source);
        loop {
            let before = self.function(name)?;
            let mut record = before.record().clone();
            if let Some(asked) = &asked {
                asked.narrow(&mut record, &terms)?;
            }
            record.release.clone_from(&release);
            let spec = inner.spec(&record)?;
            let depth = Depth::of(&spec.limits);
            if !depth.suits(&provided.artifact) {
                // Another reload gave the function a max_stack_depth meanwhile.
                let digest = provided.artifact.manifest().source;
                provided = match &release {
                    Some(release) => {
                        let key = Some(release.key);
                        inner.artifacts.provide_registered(&digest, key, depth)?
                    }
                    None => inner.artifacts.provide(source, depth)?,
                };
                added += provided.bytes_added(source);
            }
            let spec = inner.complete_limits(&mut record, spec, &provided)?;
            let scope = DeclarationScope {
                database: before.record().database(),
                rights,
            };
            let declared = &provided.artifact.manifest().module.automation;
            record.automation = self.check_declared(&spec, declared, scope)?;
            let (function_name, automation) = (record.name.clone(), record.automation.clone());
            let function = inner.start(&provided, spec)?;
            record.digest = function.digest();
            record.file = file.map(Into::into);
            let digest = record.digest;
            let automation = automation.as_deref();
            let changed =
                self.change_with_declared(&function_name, automation, |names, sequences| {
                    match names.get_mut(name) {
                        Some(current) if Arc::ptr_eq(current, &before) => {
                            rollback_guard::note(sequences, &record)?;
                            *current = Arc::new(inner.entry(record, Some(&before), function));
                            Ok(Some(()))
                        }
                        // Another client changed the function meanwhile, perhaps its permissions.
                        _ => Ok(None),
                    }
                })?;
            if changed.is_some() {
                drop(arriving);
                inner.evict(added);
                return Ok(digest);
            }
        }
    }

    /// Reloads a function from its file. Returns `None` if the file has the same code, or if the
    /// function was not loaded from a file. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Runtime::reload`]. The error is also kept with the function's errors, because no client
    /// may be waiting for it.
    pub fn reload_file(&self, name: &[u8]) -> Result<Option<Digest>, CallError> {
        let registered = self.function(name)?;
        let Record { file, digest, .. } = registered.record();
        let Some(file) = file.as_deref() else {
            return Ok(None);
        };
        let reload = || {
            let source = Source::for_load(file.as_bytes(), &self.0.options.source)?;
            if matches!(&source, Source::Wasm(bytes) | Source::Program(bytes) if Digest::of(bytes) == *digest)
            {
                return Ok(None);
            }
            let rights = AutomationRights::default();
            self.reload(name, &source, Some(file), rights).map(Some)
        };
        reload().inspect_err(|error| registered.stats().record_error(error, None))
    }
}
