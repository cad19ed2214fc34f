//! A loaded module, linked and with its exports found, ready to be instantiated.

use std::sync::Arc;

use ferrite_cache::{
    CodeOffsetMap, ENGINE_ENTRY_PREFIX, EntryKind, Rewind, RewindPlan, Signature, VerifiedArtifact,
};
use ferrite_wasm_abi::{
    ALLOC_EXPORT, DEALLOC_EXPORT, DEFAULT_ENTRY, INITIALIZE_EXPORT, MEMORY_EXPORT,
};
use wasmtime::{InstancePre, Linker, Module, ModuleExport};

use crate::call::state::StoreData;
use crate::error::CallError;
use crate::error::MissingExport;
use crate::host::Linkers;
use crate::instance::meter::MeterExports;
use crate::instance::stack_depth::DepthExports;
use crate::rewind::exports::RewindExports;
use crate::rewind::snapshot::{InstanceSnapshot, StoredImageError};
use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::keyspace::Keyspace;

/// A loaded module, linked and with its exports found.
///
/// All searches by name happen here once, so that making an instance needs none.
pub(crate) struct LinkedModule<K: Keyspace> {
    pre: InstancePre<StoreData<K>>,
    pre_direct: InstancePre<StoreData<K>>,
    entries: Box<[Entry]>,
    exports: Exports,
    metering: Metering,
    rewriting: Option<Rewriting>,
    counting: Option<Counting>,
    /// The memory and the globals of an instance before any code ran, if the code does not make them itself.
    initial: Option<Arc<InstanceSnapshot>>,
    /// Added to an offset in the compiled module, this gives the one in the module that had its own data.
    engine_back: i64,
    /// Functions that the module imports and defines; the compiler's own come after them.
    functions: u32,
}

/// The compiler's rewriting of a module for rewinding.
struct Rewriting {
    exports: RewindExports,
    plan: RewindPlan,
}

/// The compiler's additions to every module for counting the units that it runs.
struct Metering {
    exports: MeterExports,
    moves: CodeOffsetMap,
}

/// The compiler's additions to a module that counts how deep its calls nest.
struct Counting {
    exports: DepthExports,
    moves: CodeOffsetMap,
}

/// An exported function that can be called from outside.
#[derive(Clone)]
pub struct Entry {
    /// Its name.
    pub name: Box<str>,
    /// Way in which it takes its input and gives its reply.
    pub kind: EntryKind,
    /// Its parameters and results.
    pub signature: Signature,
    /// Its export in the module.
    pub(crate) export: ModuleExport,
}

/// Other exports of a module that the host uses.
#[derive(Clone, Default)]
pub(crate) struct Exports {
    /// The linear memory.
    pub(crate) memory: Option<ModuleExport>,
    /// The allocator for the input of buffer entries.
    pub(crate) alloc: Option<ModuleExport>,
    /// Its counterpart.
    pub(crate) dealloc: Option<ModuleExport>,
    /// The initialiser, which runs once before the first entry.
    pub(crate) initialize: Option<ModuleExport>,
}

/// Reason why a module cannot be linked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// It imports something that the host does not provide.
    #[error("the module cannot be linked: {reason}")]
    Link {
        /// The error of wasmtime.
        reason: Box<str>,
    },
    /// The manifest names an entry that the code does not have.
    #[error("the artifact has no function {name}, which its manifest names; compile it again")]
    MissingEntry {
        /// The entry.
        name: Box<str>,
    },
    /// Its code does not count what it uses, so that nothing would end it.
    #[error("the artifact does not count its fuel; compile it again")]
    NotMetered,
    /// The manifest names something of the compiler's that the code does not have.
    #[error(transparent)]
    Rewriting(#[from] MissingExport),
    /// The image does not fit the code.
    #[error("the artifact's image does not fit: {reason}; compile it again")]
    Image {
        /// The error, from the outermost to the innermost cause.
        reason: Box<str>,
    },
}

impl From<StoredImageError> for LinkError {
    fn from(error: StoredImageError) -> Self {
        Self::Image {
            reason: ErrorChain(&error).to_string().into(),
        }
    }
}

impl<K: Keyspace> LinkedModule<K> {
    /// Links `module`, which is the code of `artifact`.
    ///
    /// # Errors
    ///
    /// Fails if it imports something that the host does not have, differs from its manifest, or if the image
    /// does not fit it.
    pub(crate) fn new(
        linkers: &Linkers<K>,
        module: &Module,
        artifact: &VerifiedArtifact,
    ) -> Result<Self, LinkError> {
        let manifest = artifact.manifest();
        let info = &manifest.module;
        let link = |linker: &Linker<StoreData<K>>| {
            linker
                .instantiate_pre(module)
                .map_err(|error| LinkError::Link {
                    reason: format!("{error:#}").into(),
                })
        };
        let (pre, pre_direct) = (link(&linkers.fiber)?, link(&linkers.direct)?);
        let find = |name: &str| module.get_export_index(name);
        let entries = info
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let export = match &manifest.image {
                    // An engine's entries have numbers.
                    Some(image) => image
                        .entries
                        .get(index)
                        .and_then(|number| find(&format!("{ENGINE_ENTRY_PREFIX}{number}"))),
                    None => find(&entry.name),
                };
                let export = export.ok_or_else(|| LinkError::MissingEntry {
                    name: entry.name.as_str().into(),
                })?;
                Ok(Entry {
                    name: entry.name.as_str().into(),
                    kind: entry.kind,
                    signature: entry.signature.clone(),
                    export,
                })
            })
            .collect::<Result<_, LinkError>>()?;
        let plan = info.meter.as_ref().ok_or(LinkError::NotMetered)?;
        let metering = Metering {
            exports: MeterExports::find(module, plan)?,
            moves: plan.moves.clone(),
        };
        let rewriting = match &info.rewind {
            Rewind::Allowed(plan) => Some(Rewriting {
                exports: RewindExports::find(module, plan)?,
                plan: plan.clone(),
            }),
            Rewind::Refused { .. } => None,
        };
        let counting = match &info.stack_depth {
            Some(plan) => Some(Counting {
                exports: DepthExports::find(module, plan)?,
                moves: plan.moves.clone(),
            }),
            None => None,
        };
        let initial = match (artifact.image(), &info.rewind) {
            (Some(_), Rewind::Allowed(plan)) => {
                Some(InstanceSnapshot::stored(artifact, module, plan)?)
            }
            (Some(_), Rewind::Refused { .. }) => {
                return Err(LinkError::Image {
                    reason: "the module cannot be rewound, and such modules have none".into(),
                });
            }
            (None, _) => None,
        };
        let imported = u32::try_from(info.imports.len()).unwrap_or(u32::MAX);
        Ok(Self {
            pre,
            pre_direct,
            entries,
            metering,
            rewriting,
            counting,
            initial,
            engine_back: manifest.image.as_ref().map_or(0, |image| image.back),
            functions: info.functions.saturating_add(imported),
            exports: Exports {
                memory: find(MEMORY_EXPORT),
                alloc: find(ALLOC_EXPORT),
                dealloc: find(DEALLOC_EXPORT),
                initialize: info.initialize.then(|| find(INITIALIZE_EXPORT)).flatten(),
            },
        })
    }

    /// Returns the template of instances.
    #[must_use]
    pub(crate) fn pre(&self) -> &InstancePre<StoreData<K>> {
        &self.pre
    }

    /// Returns the template for instances that run without a stack of their own.
    #[must_use]
    pub(crate) fn pre_direct(&self) -> &InstancePre<StoreData<K>> {
        &self.pre_direct
    }

    /// Every entry, in the module's order.
    #[must_use]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the other exports that the host uses.
    #[must_use]
    pub(crate) fn exports(&self) -> &Exports {
        &self.exports
    }

    /// Returns the exports that the rewriting added, if the module was rewritten.
    #[must_use]
    pub(crate) fn rewriting(&self) -> Option<&RewindExports> {
        self.rewriting.as_ref().map(|rewriting| &rewriting.exports)
    }

    /// Returns the exports that the module counts by.
    #[must_use]
    pub(crate) fn meter(&self) -> &MeterExports {
        &self.metering.exports
    }

    /// Returns the exports that limit the depth of the module's calls, if they are counted.
    #[must_use]
    pub(crate) fn depth(&self) -> Option<&DepthExports> {
        self.counting.as_ref().map(|counting| &counting.exports)
    }

    /// Returns the memory and the globals of an instance before any code ran; `None` if the code makes them
    /// itself.
    #[must_use]
    pub(crate) fn initial(&self) -> Option<&Arc<InstanceSnapshot>> {
        self.initial.as_ref()
    }

    /// Returns the state that calls start from, if it is known without running anything.
    #[must_use]
    pub(crate) fn known_snapshot(&self) -> Option<&Arc<InstanceSnapshot>> {
        let starts = self.exports.initialize.is_some()
            || self.metering.exports.has_start()
            || self.depth().is_some_and(DepthExports::has_start)
            || self.rewriting().is_some_and(RewindExports::has_start);
        self.initial.as_ref().filter(|_| !starts)
    }

    /// Returns true if the author wrote the function of this index, and not the compiler.
    #[must_use]
    pub(crate) fn is_authored(&self, function: u32) -> bool {
        function < self.functions
    }

    /// Translates an offset in the compiled module to one in the source.
    #[must_use]
    pub(crate) fn source_offset(&self, compiled: u64) -> u64 {
        let compiled = compiled.saturating_add_signed(self.engine_back);
        // Metering came last, counting before it.
        let counted = self.metering.moves.original_offset(compiled);
        let rewritten = match &self.counting {
            Some(counting) => counting.moves.original_offset(counted),
            None => counted,
        };
        match &self.rewriting {
            Some(rewriting) => rewriting.plan.source_offset(rewritten),
            None => rewritten,
        }
    }

    /// Returns the index of the entry to call: the entry `named`; else `run`; else the one named like
    /// `function`; else the only one.
    ///
    /// # Errors
    ///
    /// `NOFUNC`, with the names of all entries.
    #[inline]
    pub(crate) fn entry(&self, function: &str, named: Option<&[u8]>) -> Result<usize, CallError> {
        let find = |name: &[u8]| {
            self.entries
                .iter()
                .position(|entry| entry.name.as_bytes() == name)
        };
        let found = match named {
            Some(name) => find(name),
            None if self.entries.len() == 1 => Some(0),
            None => find(DEFAULT_ENTRY.as_bytes()).or_else(|| find(function.as_bytes())),
        };
        found.ok_or_else(|| {
            let names = self.entries.iter().map(|entry| &*entry.name);
            CallError::no_entry(function, named, names)
        })
    }
}
