//! Tests of profiles.

use super::{Baseline, EngineProfile, Metering, Profile, ProfileError, Security, Target};

#[test]
fn names_round_trip() {
    for target in Target::ALL {
        assert_eq!(target.to_string().parse(), Ok(target));
        assert_eq!(target.short().parse(), Ok(target));
    }
    for baseline in Baseline::ALL {
        assert_eq!(baseline.to_string().parse(), Ok(baseline));
    }
    assert!("x86_64-apple-darwin".parse::<Target>().is_err());
    assert!("v3".parse::<Baseline>().is_err());
}

#[test]
fn every_target_has_its_baselines_and_no_other() {
    for target in Target::ALL {
        for baseline in Baseline::ALL {
            let profile = Profile::new(target, baseline);
            let belongs = match baseline {
                Baseline::Native => target == Target::host(),
                Baseline::V2 | Baseline::V3 => target == Target::X86_64Linux,
                Baseline::Generic => target != Target::X86_64Linux,
            };
            assert_eq!(profile.is_ok(), belongs, "{target} {baseline}");
            if let Ok(profile) = profile {
                assert_eq!(profile.check(), Ok(()));
            }
        }
    }
}

#[test]
fn candidates_begin_with_native_and_differ() {
    let candidates = Profile::candidates();
    assert_eq!(candidates[0], Profile::native());
    for (index, one) in candidates.iter().enumerate() {
        assert_eq!(one.target(), Target::host());
        assert_eq!(one.engine_version(), candidates[0].engine_version());
        for other in &candidates[index + 1..] {
            assert_ne!(one.fingerprint(), other.fingerprint());
        }
    }
}

#[test]
fn every_field_changes_the_fingerprint() {
    let base = Profile::new(Target::X86_64Linux, Baseline::V3).expect("a pair that exists");
    let mut seen = vec![base.fingerprint()];
    let mut differs = |change: &dyn Fn(&mut Profile)| {
        let mut profile = base.clone();
        change(&mut profile);
        let fingerprint = profile.fingerprint();
        assert!(!seen.contains(&fingerprint), "{profile:?}");
        seen.push(fingerprint);
    };
    differs(&|profile| profile.target = Target::Aarch64Linux);
    differs(&|profile| profile.baseline = Baseline::V2);
    differs(&|profile| drop(profile.cpu_features.pop()));
    differs(&|profile| profile.stack_depth = true);
    differs(&|profile| profile.engine.abi += 1);
    differs(&|profile| profile.engine.wasmtime.push('0'));
    differs(&|profile| profile.engine.rewriting += 1);
    differs(&|profile| profile.engine.metering.pass += 1);
    differs(&|profile| drop(profile.engine.wasm_features.pop()));
    differs(&|profile| profile.engine.security.memory_reservation_bytes = 0);
    differs(&|profile| profile.engine.security.memory_guard_bytes = 0);
    differs(&|profile| profile.engine.security.guard_before_memory = false);
    differs(&|profile| profile.engine.security.heap_spectre_mitigation = false);
    differs(&|profile| profile.engine.security.table_spectre_mitigation = false);
    differs(&|profile| profile.engine.security.nan_canonicalization = true);
    differs(&|profile| profile.engine.security.signals_based_traps = false);
}

#[test]
fn the_fingerprint_of_known_values_stays() {
    // If this fails, the canonical encoding changed and every existing cache misses: give the
    // encoding a new version and record it in the changelog.
    let profile = Profile {
        engine: EngineProfile {
            abi: 1,
            wasmtime: String::from("48.0.8"),
            rewriting: 1,
            metering: Metering { pass: 1 },
            wasm_features: vec![String::from("bulk-memory"), String::from("simd")],
            security: Security {
                memory_reservation_bytes: 4 << 30,
                memory_guard_bytes: 32 << 20,
                guard_before_memory: true,
                heap_spectre_mitigation: true,
                table_spectre_mitigation: true,
                nan_canonicalization: false,
                signals_based_traps: true,
            },
        },
        target: Target::X86_64Linux,
        baseline: Baseline::V2,
        cpu_features: vec![String::from("has_sse3"), String::from("has_ssse3")],
        stack_depth: false,
    };
    assert_eq!(profile.fingerprint().to_string(), "45d43e401ab84026");
    assert_eq!(profile.engine_version().len(), 24);
}

#[test]
fn what_this_build_does_not_do_is_refused_in_words() {
    let base = Profile::new(Target::X86_64Linux, Baseline::V2).expect("a pair that exists");
    let refused = |change: &dyn Fn(&mut Profile)| {
        let mut profile = base.clone();
        change(&mut profile);
        profile.check().expect_err("this build does not do that")
    };
    assert!(matches!(
        refused(&|profile| profile.engine.wasmtime = String::from("48.0.0")),
        ProfileError::Wasmtime { .. }
    ));
    assert!(matches!(
        refused(&|profile| profile.engine.abi = 2),
        ProfileError::Abi { found: 2, .. }
    ));
    assert!(matches!(
        refused(&|profile| profile.engine.metering.pass = 0),
        ProfileError::Engine { .. }
    ));
    assert!(matches!(
        refused(&|profile| profile.cpu_features.push(String::from("has_avx2"))),
        ProfileError::CpuFeatures { .. }
    ));
    assert!(matches!(
        refused(&|profile| {
            profile.baseline = Baseline::Native;
            profile.cpu_features = vec![String::from("enable_pinned_reg")];
        }),
        ProfileError::UnknownCpuFeature { .. }
    ));
    assert!(matches!(
        refused(&|profile| {
            profile.baseline = Baseline::Native;
            profile.cpu_features.reverse();
        }),
        ProfileError::CpuFeatures { .. }
    ));
    assert!(matches!(
        refused(&|profile| profile.baseline = Baseline::Generic),
        ProfileError::ForeignBaseline { .. }
    ));
}

#[test]
fn reads_back_from_json() {
    let profile = Profile::native();
    let json = serde_json::to_string(&profile).expect("a profile is plain data");
    let back: Profile = serde_json::from_str(&json).expect("it reads back");
    assert_eq!(back, profile);
    assert_eq!(back.fingerprint(), profile.fingerprint());
}
