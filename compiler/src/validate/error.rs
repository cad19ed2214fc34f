//! What can be wrong with a source.

use thiserror::Error;

/// Why a module is refused. Every text says where, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// The bytes are something else.
    #[error("not a WebAssembly module: {found}")]
    NotWasm {
        /// What they look like, and what to do.
        found: &'static str,
    },
    /// The bytes end before the module does.
    #[error(
        "the module is cut off: its {bytes} bytes end in the middle of a section; \
         copy or build the file again"
    )]
    Truncated {
        /// Length of what is there.
        bytes: u64,
    },
    /// The module does not follow the specification.
    #[error("not valid WebAssembly: {message} (at offset {offset:#x})")]
    Malformed {
        /// What the validator says.
        message: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module uses a proposal that is switched off here.
    #[error("{message} (at offset {offset:#x}): the {proposal} proposal is off here; {remedy}")]
    FeatureOff {
        /// What the validator says.
        message: String,
        /// Name of the WebAssembly proposal.
        proposal: &'static str,
        /// How to build without it.
        remedy: &'static str,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module is larger or more complex than the bounds allow.
    #[error("{what}: {found}, where at most {max} are allowed (`{bound}`, at offset {offset:#x})")]
    LimitExceeded {
        /// What was measured, with its unit.
        what: &'static str,
        /// Name of the field in [`SourceLimits`](crate::SourceLimits).
        bound: &'static str,
        /// How much was found.
        found: u64,
        /// How much is allowed.
        max: u64,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module imports a function that no host offers.
    #[error("unknown import `{import}` (at offset {offset:#x}): {remedy}")]
    UnknownImport {
        /// Module and name of the import.
        import: String,
        /// What to import instead, or how to build.
        remedy: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module imports a host function under another signature.
    #[error(
        "import `{import}` has the signature {found}, but the host's is {expected} \
         (at offset {offset:#x}); declare it so"
    )]
    ImportSignature {
        /// Module and name of the import.
        import: String,
        /// The host's signature.
        expected: String,
        /// The module's.
        found: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module imports something other than a function.
    #[error(
        "import `{import}` is a {kind}, and only functions can be imported \
         (at offset {offset:#x}); {remedy}"
    )]
    ImportKind {
        /// Module and name of the import.
        import: String,
        /// What it is: memory, table, global or tag.
        kind: &'static str,
        /// How to build without it.
        remedy: &'static str,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// A host function takes pointers, and the module exports no memory for them.
    #[error(
        "import `{import}` passes pointers (at offset {offset:#x}), but the module exports no \
         memory named `memory`; export it: `(export \"memory\" (memory 0))` in text, \
         `-Wl,--export-memory` with clang"
    )]
    MemoryMissing {
        /// Module and name of the import.
        import: String,
        /// Where the import is, in bytes from the start.
        offset: u64,
    },
    /// An export has a reserved name and is not what that name promises.
    #[error("export `{name}` must be {expected}, found {found} (at offset {offset:#x})")]
    ReservedExport {
        /// Name of the export.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// No export can be called.
    #[error(
        "no entry: the module exports no function that can be called{seen}; an entry is exported \
         and either takes and returns only numbers, or is () -> (), or is (i32, i32) -> i64 in a \
         module that exports `memory` and `alloc`{hint}"
    )]
    NoEntry {
        /// Functions that were found and are not entries, with the reason in brackets.
        seen: String,
        /// How to build one, where the exports tell which toolchain it was.
        hint: &'static str,
    },
}

impl ValidateError {
    /// Where in the source the fault is, in bytes from its start, if it is at one place.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match *self {
            Self::NotWasm { .. } => Some(0),
            Self::Truncated { bytes } => Some(bytes),
            Self::Malformed { offset, .. }
            | Self::FeatureOff { offset, .. }
            | Self::LimitExceeded { offset, .. }
            | Self::UnknownImport { offset, .. }
            | Self::ImportSignature { offset, .. }
            | Self::ImportKind { offset, .. }
            | Self::MemoryMissing { offset, .. }
            | Self::ReservedExport { offset, .. } => Some(offset),
            Self::NoEntry { .. } => None,
        }
    }
}
