//! CPU features, named as Cranelift's flags.

use super::target::{Baseline, Target};

/// Flags of Cranelift's x86-64 backend for CPU features that wasmtime can detect.
const X86_64: &[&str] = &[
    "has_avx",
    "has_avx2",
    "has_avx512bitalg",
    "has_avx512dq",
    "has_avx512f",
    "has_avx512vbmi",
    "has_avx512vl",
    "has_avx512vnni",
    "has_avx_vnni",
    "has_bmi1",
    "has_bmi2",
    "has_cmpxchg16b",
    "has_fma",
    "has_lzcnt",
    "has_popcnt",
    "has_sse3",
    "has_sse41",
    "has_sse42",
    "has_ssse3",
];

/// Flags of its aarch64 backend for such features.
const AARCH64: &[&str] = &[
    "has_dotprod",
    "has_fp16",
    "has_i8mm",
    "has_lse",
    "has_pauth",
];

/// Features of level 2 of the x86-64 psABI for which Cranelift has flags.
const V2: &[&str] = &[
    "has_cmpxchg16b",
    "has_popcnt",
    "has_sse3",
    "has_sse41",
    "has_sse42",
    "has_ssse3",
];

/// Features of level 3, likewise.
const V3: &[&str] = &[
    "has_avx",
    "has_avx2",
    "has_bmi1",
    "has_bmi2",
    "has_cmpxchg16b",
    "has_fma",
    "has_lzcnt",
    "has_popcnt",
    "has_sse3",
    "has_sse41",
    "has_sse42",
    "has_ssse3",
];

/// Returns every flag that a profile of this target may name, sorted.
pub(super) const fn flags(target: Target) -> &'static [&'static str] {
    match target {
        Target::X86_64Linux => X86_64,
        Target::Aarch64Linux | Target::Aarch64MacOs => AARCH64,
    }
}

/// Returns the flags of a portable baseline, sorted; native has none.
pub(super) fn of_baseline(baseline: Baseline) -> Vec<&'static str> {
    match baseline {
        Baseline::V2 => V2.to_vec(),
        Baseline::V3 => V3.to_vec(),
        Baseline::Generic | Baseline::Native => Vec::new(),
    }
}

/// Returns the flags for the features of this machine's CPU, sorted.
pub(super) fn detected() -> Vec<&'static str> {
    flags(Target::host())
        .iter()
        .copied()
        .filter(|flag| has(flag))
        .collect()
}

#[cfg(target_arch = "x86_64")]
fn has(flag: &str) -> bool {
    match flag {
        "has_avx" => std::is_x86_feature_detected!("avx"),
        "has_avx2" => std::is_x86_feature_detected!("avx2"),
        "has_avx512bitalg" => std::is_x86_feature_detected!("avx512bitalg"),
        "has_avx512dq" => std::is_x86_feature_detected!("avx512dq"),
        "has_avx512f" => std::is_x86_feature_detected!("avx512f"),
        "has_avx512vbmi" => std::is_x86_feature_detected!("avx512vbmi"),
        "has_avx512vl" => std::is_x86_feature_detected!("avx512vl"),
        "has_avx512vnni" => std::is_x86_feature_detected!("avx512vnni"),
        "has_avx_vnni" => std::is_x86_feature_detected!("avxvnni"),
        "has_bmi1" => std::is_x86_feature_detected!("bmi1"),
        "has_bmi2" => std::is_x86_feature_detected!("bmi2"),
        "has_cmpxchg16b" => std::is_x86_feature_detected!("cmpxchg16b"),
        "has_fma" => std::is_x86_feature_detected!("fma"),
        "has_lzcnt" => std::is_x86_feature_detected!("lzcnt"),
        "has_popcnt" => std::is_x86_feature_detected!("popcnt"),
        "has_sse3" => std::is_x86_feature_detected!("sse3"),
        "has_sse41" => std::is_x86_feature_detected!("sse4.1"),
        "has_sse42" => std::is_x86_feature_detected!("sse4.2"),
        "has_ssse3" => std::is_x86_feature_detected!("ssse3"),
        _ => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn has(flag: &str) -> bool {
    match flag {
        "has_dotprod" => std::arch::is_aarch64_feature_detected!("dotprod"),
        "has_fp16" => std::arch::is_aarch64_feature_detected!("fp16"),
        "has_i8mm" => std::arch::is_aarch64_feature_detected!("i8mm"),
        "has_lse" => std::arch::is_aarch64_feature_detected!("lse"),
        "has_pauth" => std::arch::is_aarch64_feature_detected!("paca"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{V2, V3, detected, flags};
    use crate::profile::target::Target;

    #[test]
    fn tables_are_sorted_and_contain_each_other() {
        let sorted = |flags: &[&str]| flags.is_sorted_by(|one, next| one < next);
        assert!(Target::ALL.iter().all(|&target| sorted(flags(target))));
        assert!(sorted(V2) && sorted(V3));
        assert!(V2.iter().all(|flag| V3.contains(flag)));
        assert!(
            V3.iter()
                .all(|flag| flags(Target::X86_64Linux).contains(flag))
        );
    }

    #[test]
    fn the_machine_has_only_features_of_its_target() {
        let detected = detected();
        assert!(
            detected
                .iter()
                .all(|flag| flags(Target::host()).contains(flag))
        );
    }
}
