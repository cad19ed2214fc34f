//! The WebAssembly proposals that are on and off, with remedies for those that are off.

use wasmparser::{Validator, WasmFeatures};

use super::error::ValidateError;

/// Enabled proposals, under the names that profiles use. None is enabled by default.
const ON: &[(&str, WasmFeatures)] = &[
    ("bulk-memory", WasmFeatures::BULK_MEMORY),
    ("extended-const", WasmFeatures::EXTENDED_CONST),
    ("floats", WasmFeatures::FLOATS),
    ("multi-value", WasmFeatures::MULTI_VALUE),
    ("mutable-globals", WasmFeatures::MUTABLE_GLOBAL),
    ("reference-types", WasmFeatures::REFERENCE_TYPES),
    (
        "saturating-float-to-int",
        WasmFeatures::SATURATING_FLOAT_TO_INT,
    ),
    ("sign-extension", WasmFeatures::SIGN_EXTENSION),
    ("simd", WasmFeatures::SIMD),
];

/// Returns the enabled proposals as one set.
pub(super) fn enabled() -> WasmFeatures {
    ON.iter()
        .fold(WasmFeatures::empty(), |all, (_, bits)| all.union(*bits))
}

/// A proposal that is off.
struct Proposal {
    name: &'static str,
    bits: WasmFeatures,
    remedy: &'static str,
}

/// Proposals that are off and that a toolchain might use, likely ones first.
const OFF: &[Proposal] = &[
    Proposal {
        name: "threads",
        bits: WasmFeatures::THREADS,
        remedy: "build without shared memory and atomics: `-mno-atomics` and no `-pthread` \
                 (clang), `-C target-feature=-atomics` (rustc)",
    },
    Proposal {
        name: "exception-handling",
        bits: WasmFeatures::EXCEPTIONS,
        remedy: "build with `-fno-exceptions` (clang) or `-C panic=abort` (rustc)",
    },
    Proposal {
        name: "legacy exception-handling",
        bits: WasmFeatures::LEGACY_EXCEPTIONS,
        remedy: "build with `-fno-exceptions` (clang) or `-C panic=abort` (rustc)",
    },
    Proposal {
        name: "tail-call",
        bits: WasmFeatures::TAIL_CALL,
        remedy: "build with `-mno-tail-call` (clang) or `-C target-feature=-tail-call` (rustc)",
    },
    Proposal {
        name: "memory64",
        bits: WasmFeatures::MEMORY64,
        remedy: "build for a wasm32 target instead of wasm64",
    },
    Proposal {
        name: "multi-memory",
        bits: WasmFeatures::MULTI_MEMORY,
        remedy: "keep to one memory: `-mno-multimemory` (clang), \
                 `-C target-feature=-multimemory` (rustc)",
    },
    Proposal {
        name: "relaxed-simd",
        bits: WasmFeatures::RELAXED_SIMD,
        remedy: "build with `-mno-relaxed-simd` (clang) or `-C target-feature=-relaxed-simd` \
                 (rustc); plain SIMD is on",
    },
    Proposal {
        name: "gc",
        bits: WasmFeatures::GC,
        remedy: "compile from a language that manages its memory itself, or with a backend that \
                 does not need garbage collection by the host",
    },
    Proposal {
        name: "externref",
        bits: WasmFeatures::GC_TYPES,
        remedy: "keep references to the host's values out; there is nothing here that they could \
                 refer to",
    },
    Proposal {
        name: "function-references",
        bits: WasmFeatures::FUNCTION_REFERENCES,
        remedy: "build with a backend that does not need typed function references",
    },
    Proposal {
        name: "wide-arithmetic",
        bits: WasmFeatures::WIDE_ARITHMETIC,
        remedy: "build with `-mno-wide-arithmetic` (clang) or \
                 `-C target-feature=-wide-arithmetic` (rustc)",
    },
    Proposal {
        name: "custom-page-sizes",
        bits: WasmFeatures::CUSTOM_PAGE_SIZES,
        remedy: "keep to memory pages of 64 KiB",
    },
    Proposal {
        name: "stack-switching",
        bits: WasmFeatures::STACK_SWITCHING,
        remedy: "build without continuations",
    },
    Proposal {
        name: "shared-everything-threads",
        bits: WasmFeatures::SHARED_EVERYTHING_THREADS,
        remedy: "build without threads",
    },
    Proposal {
        name: "compact-imports",
        bits: WasmFeatures::COMPACT_IMPORTS,
        remedy: "write the import section in its plain form",
    },
    Proposal {
        name: "memory-control",
        bits: WasmFeatures::MEMORY_CONTROL,
        remedy: "build without `memory.discard`",
    },
    Proposal {
        name: "custom-descriptors",
        bits: WasmFeatures::CUSTOM_DESCRIPTORS,
        remedy: "build without custom descriptors",
    },
];

/// Converts an error of the validator, and names the proposal if one that is off is the cause.
///
/// The validator marks some such errors. For others, the source is validated again with every
/// proposal on; if that gets further, each one is turned off in turn to find the cause. This costs
/// a few validations of a source that is refused anyway and whose size is limited.
pub(super) fn explain(source: &[u8], error: &wasmparser::Error) -> ValidateError {
    let offset = error.offset() as u64;
    let message = error.message().replace('\n', " ");
    let proposal = error
        .missing_wasm_feature()
        .and_then(|bits| OFF.iter().find(|off| off.bits.intersects(bits)))
        .or_else(|| search(source, error.offset()));
    match proposal {
        Some(Proposal { name, remedy, .. }) => ValidateError::FeatureOff {
            message,
            proposal: name,
            remedy,
            offset,
        },
        None => ValidateError::Malformed { message, offset },
    }
}

/// Finds the proposal without which the source fails at or before `offset`.
fn search(source: &[u8], offset: usize) -> Option<&'static Proposal> {
    let everything = OFF.iter().fold(enabled(), |features, proposal| {
        features.union(proposal.bits)
    });
    if !gets_past(source, everything, offset) {
        return None;
    }
    OFF.iter()
        .find(|proposal| !gets_past(source, everything.difference(proposal.bits), offset))
}

/// Returns true if the source is valid beyond `offset` with these features.
fn gets_past(source: &[u8], features: WasmFeatures, offset: usize) -> bool {
    match Validator::new_with_features(features).validate_all(source) {
        Ok(_) => true,
        Err(error) => error.offset() > offset,
    }
}

#[cfg(test)]
mod tests {
    use super::{OFF, ON, enabled};
    use ferrite_cache::Profile;
    use wasmparser::WasmFeatures;

    /// The validator accepts exactly the features that the engine compiles and loads.
    #[test]
    fn profiles_and_the_validator_agree() {
        let names: Vec<&str> = ON.iter().map(|(name, _)| *name).collect();
        assert_eq!(Profile::native().engine().wasm_features, names);
    }

    #[test]
    fn no_proposal_is_both_on_and_off() {
        for proposal in OFF {
            assert!(!enabled().intersects(proposal.bits), "{}", proposal.name);
        }
    }

    /// A proposal that the parser learns of has to be put on one list or the other.
    #[test]
    fn every_core_proposal_is_on_a_list() {
        let listed = OFF
            .iter()
            .fold(enabled(), |all, proposal| all.union(proposal.bits));
        for (name, bits) in WasmFeatures::all().iter_names() {
            let core = !name.starts_with("CM") && name != "COMPONENT_MODEL";
            assert!(!core || listed.contains(bits), "{name}");
        }
    }
}
