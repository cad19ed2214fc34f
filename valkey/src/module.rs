//! The started module: its runtime, options and threads.

use std::sync::OnceLock;

use ferrite_runtime::Runtime;

use crate::execution::runner::IdleRun;
use crate::execution::worker_pool::Pool;
use crate::options::Options;
use crate::transaction::ServerKeyspace;

/// The started module.
pub(crate) struct Module {
    pub(crate) runtime: Runtime<ServerKeyspace>,
    pub(crate) options: Options,
    /// Runs calls off the main thread.
    pub(crate) pool: Pool,
    /// The run of the last call on the main thread, kept for the next one.
    pub(crate) idle: IdleRun,
}

static MODULE: OnceLock<Module> = OnceLock::new();

/// Returns the module; `None` before it is started.
#[inline]
pub(crate) fn module() -> Option<&'static Module> {
    MODULE.get()
}

/// Sets the started module. Returns false if there is one already.
pub(crate) fn set(module: Module) -> bool {
    MODULE.set(module).is_ok()
}

impl Module {
    /// Returns true if calls of this function never run on the main thread. `function` is a name,
    /// with or without an entry after a dot.
    pub(crate) fn is_offloaded(&self, function: &[u8]) -> bool {
        let Some(name) = function.split(|&byte| byte == b'.').next() else {
            return false;
        };
        let offload = &self.options.offload;
        offload.iter().any(|glob| glob.matches(name)) || self.reads_files(name)
    }

    /// Returns true if a function may read files, for which it may have to wait.
    fn reads_files(&self, name: &[u8]) -> bool {
        !self.options.runtime.directories.is_empty()
            && self
                .runtime
                .function(name)
                .is_ok_and(|function| !function.record().permissions.allow_filesystem.is_empty())
    }
}
