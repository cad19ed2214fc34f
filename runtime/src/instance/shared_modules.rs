//! Modules that several functions share.
//!
//! A module keeps its file open as long as it lives. Functions with the same code share one module,
//! and so one descriptor, one mapping and one registration of its code.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use ferrite_cache::{Digest, VerifiedArtifact};
use parking_lot::Mutex;
use wasmtime::{Engine, Module};

use crate::instance::deserialize::{LoadModuleError, load};

/// The modules in use on one engine, by the digest of their native code.
#[derive(Debug, Default)]
pub(crate) struct SharedModules(Mutex<HashMap<Digest, Weak<Module>>>);

impl SharedModules {
    /// Returns the module of an artifact; loads it if no function has it. `engine` is always the same
    /// one.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub(crate) fn get_or_load(
        &self,
        engine: &Engine,
        artifact: &VerifiedArtifact,
    ) -> Result<Arc<Module>, LoadModuleError> {
        let digest = artifact.manifest().artifact;
        if let Some(module) = self.0.lock().get(&digest).and_then(Weak::upgrade) {
            return Ok(module);
        }
        // Without the lock: another thread may load the same code, and then both are used.
        let module = Arc::new(load(engine, artifact)?);
        let mut modules = self.0.lock();
        if modules.len() == modules.capacity() {
            modules.retain(|_, module| module.strong_count() > 0);
        }
        modules.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }
}
