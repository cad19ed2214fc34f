//! A signed bundle with an artifact of 5 MB: the check alone, and the load into an empty cache up
//! to the first reply.

use std::borrow::Cow;
use std::hint::black_box;
use std::io::Cursor;

use criterion::{BatchSize, Criterion};
use ferrite_benches::modules::{Size, generated};
use ferrite_cache::Digest;
use ferrite_cache::bundle::{
    ArtifactMember, BUNDLE_FORMAT, BundleLimits, BundleManifest, Member, SignatureText, Trust,
    UncheckedBundle, write_bundle,
};
use ferrite_compiler::{Compiled, Compiler, SourceLimits};
use ferrite_runtime::artifact::source::{BundleSource, Source};
use ferrite_runtime::artifact::trust::TrustOptions;
use ferrite_runtime::registry::record::FunctionName;
use ferrite_runtime::{LoadRequest, RuntimeOptions};
use minisign::KeyPair;

use crate::bed::{Bed, encoder};

pub(crate) fn bench(criterion: &mut Criterion) {
    let pair = KeyPair::generate_unencrypted_keypair().expect("a key pair");
    let trust = Trust {
        keys: vec![pair.pk.to_base64().parse().expect("a key")],
        revoked: Vec::new(),
    };
    let bed = Bed::with(RuntimeOptions {
        trust: TrustOptions {
            trust: trust.clone(),
            require_signed: true,
        },
        ..RuntimeOptions::default()
    });
    let compiler = Compiler::new(&bed.profile, SourceLimits::default()).expect("this machine");
    let compiled = compiler
        .compile(&generated(Size::Large, 0))
        .expect("a valid module");
    let (bundle, source) = (pack(&compiled, &pair), compiled.manifest.source);

    let mut group = criterion.benchmark_group("bundle");
    group.bench_function("verify", |bencher| {
        bencher.iter(|| {
            UncheckedBundle::open(black_box(&bundle[..]), BundleLimits::default())
                .and_then(|unchecked| unchecked.trust(&trust, 1))
                .and_then(|trusted| trusted.read(&[]))
                .expect("it is signed")
        });
    });
    let mut reply = encoder();
    group.bench_function("load cold and first call", |bencher| {
        bencher.iter_batched(
            || {
                bed.cache
                    .withdraw(&source, &bed.profile)
                    .expect("the cache is ours");
                // The file does not exist the first time.
                let _ = std::fs::remove_file(bed.cache.source_path(&source));
            },
            |()| {
                let request = LoadRequest {
                    name: FunctionName::parse(b"f").expect("a name"),
                    source: Source::Bundle(BundleSource::Bytes(Cow::Borrowed(&bundle))),
                    file: None,
                    description: None,
                    permissions: None,
                    limits: Default::default(),
                    isolation: None,
                    config: None,
                    replace: true,
                    restored: false,
                    declarations: None,
                };
                bed.runtime.load(request).expect("it is signed");
                bed.call("f", &[], &[b"1"], &mut reply);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn pack(compiled: &Compiled, pair: &KeyPair) -> Vec<u8> {
    let Compiled {
        wasm,
        artifact,
        image: _,
        manifest,
        preinit: _,
    } = compiled;
    let member = |bytes: &[u8]| Member {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    let json = BundleManifest {
        format: BUNDLE_FORMAT,
        name: "f".to_owned(),
        version: "1".to_owned(),
        description: None,
        sequence: 1,
        created_unix: 0,
        expires_unix: None,
        isolation: None,
        permissions: None,
        limits: None,
        module: manifest.module.clone(),
        source: member(wasm),
        artifacts: vec![ArtifactMember {
            described: manifest.profile.to_string(),
            profile: manifest.profile.clone(),
            code: member(artifact),
            compile_micros: 0,
            image: manifest.image.clone(),
        }],
    }
    .to_json();
    let signature = minisign::sign(None, &pair.sk, Cursor::new(&json), None, None)
        .expect("the manifest can be signed");
    let signature =
        SignatureText::normalize(&signature.into_string()).expect("minisign's own form");
    let mut bundle = Vec::new();
    write_bundle(
        &mut bundle,
        &json,
        Some(&signature),
        wasm,
        &[compiled.code()],
    )
    .expect("it fits");
    bundle
}
