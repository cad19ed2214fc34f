//! Faults of a source.

use thiserror::Error;

/// A module is refused. Every message names the place and a remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// The bytes are not a module.
    #[error("not a WebAssembly module: {found}")]
    NotWasm {
        /// Describes the bytes, with a remedy.
        found: &'static str,
    },
    /// The bytes end before the module does.
    #[error(
        "the module is cut off: its {bytes} bytes end in the middle of a section; \
         copy or build the file again"
    )]
    Truncated {
        /// Length of the source, in bytes.
        bytes: u64,
    },
    /// The module does not follow the specification.
    #[error("not valid WebAssembly: {message} (at offset {offset:#x})")]
    Malformed {
        /// Message of the validator.
        message: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module uses a proposal that is switched off.
    #[error("{message} (at offset {offset:#x}): the {proposal} proposal is off here; {remedy}")]
    FeatureOff {
        /// Message of the validator.
        message: String,
        /// Name of the WebAssembly proposal.
        proposal: &'static str,
        /// Advice to build without it.
        remedy: &'static str,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module exceeds a limit.
    #[error("{what}: {found}, where at most {max} are allowed (`{bound}`, at offset {offset:#x})")]
    LimitExceeded {
        /// The measured quantity, with its unit.
        what: &'static str,
        /// Name of the field in [`SourceLimits`](crate::SourceLimits).
        bound: &'static str,
        /// The measured value.
        found: u64,
        /// The limit.
        max: u64,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module imports a function that no host offers.
    #[error("unknown import `{import}` (at offset {offset:#x}): {remedy}")]
    UnknownImport {
        /// Module and name of the import.
        import: String,
        /// Function to import instead, or how to build.
        remedy: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The module imports a host function with a wrong signature.
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
        /// Kind of the import: memory, table, global or tag.
        kind: &'static str,
        /// Advice to build without it.
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
        /// Offset of the import, in bytes from the start.
        offset: u64,
    },
    /// An export with a reserved name has the wrong kind or signature.
    #[error("export `{name}` must be {expected}, found {found} (at offset {offset:#x})")]
    ReservedExport {
        /// Name of the export.
        name: &'static str,
        /// The required kind or signature.
        expected: &'static str,
        /// The actual kind or signature.
        found: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// No export is an entry.
    #[error(
        "no entry: the module exports no function that can be called{seen}; an entry is exported \
         and either takes and returns only numbers, or is () -> (), or is (i32, i32) -> i64 in a \
         module that exports `memory` and `alloc`{hint}"
    )]
    NoEntry {
        /// Exported functions that are not entries, with the reasons.
        seen: String,
        /// Advice to build an entry, if the exports show which toolchain was used.
        hint: &'static str,
    },
}

impl ValidateError {
    /// Returns the offset of the fault in the source, in bytes, if it has a single position.
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
