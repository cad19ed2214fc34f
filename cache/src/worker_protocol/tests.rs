//! Tests of the messages between a compile worker and its parent.

use std::borrow::Cow;
use std::io::Read;

use super::{
    CompileRequest, CompileResponse, Refusal, ResponseLimits, SourceKind, WorkerProtocolError,
    read_request, read_response, write_request, write_response,
};
use crate::digest::Digest;
use crate::disk::KnownEngine;
use crate::image::ImageInfo;
use crate::manifest::Manifest;
use crate::module_info::ModuleInfo;
use crate::profile::Profile;
use crate::rewind::Rewind;

const BOUNDS: ResponseLimits = ResponseLimits {
    source_bytes_max: 1_000,
    artifact_bytes_max: 1_000,
};

fn job() -> Vec<u8> {
    let job = CompileRequest {
        profile: Profile::native(),
        source: Cow::Borrowed(b"(module)"),
        kind: SourceKind::Source,
        engines: vec![engine()],
    };
    let mut bytes = Vec::new();
    write_request(&mut bytes, &job).expect("a vector takes everything");
    assert_eq!(
        read_request(&mut bytes.as_slice(), 8).expect("unchanged"),
        job
    );
    bytes
}

fn compiled() -> CompileResponse {
    let (source, artifact) = (b"source".to_vec(), b"artifact".to_vec());
    CompileResponse::Compiled {
        manifest: Box::new(Manifest {
            source: Digest::of(&source),
            source_len: 6,
            artifact: Digest::of(&artifact),
            artifact_len: 8,
            profile: Profile::native(),
            module: ModuleInfo {
                name: None,
                imports: Vec::new(),
                exports: Vec::new(),
                entries: Vec::new(),
                memory: None,
                table_elements_min: 0,
                functions: 0,
                code_len: 0,
                initialize: false,
                start: false,
                rewind: Rewind::Refused {
                    reason: "it is made up".to_owned(),
                },
                meter: None,
                stack_depth: None,
                automation: crate::automation::Automation::default(),
                limits: None,
            },
            compile_micros: 7,
            signed_by: None,
            image: None,
        }),
        source,
        artifact,
        image: Vec::new(),
    }
}

fn engine() -> KnownEngine {
    KnownEngine {
        engine: Digest::of(b"engine"),
        native: Digest::of(b"artifact"),
        native_len: 8,
    }
}

/// A response with an image, and with the module of its engine.
fn on_an_engine() -> CompileResponse {
    let CompileResponse::Compiled {
        mut manifest,
        source,
        artifact,
        ..
    } = compiled()
    else {
        unreachable!("it is compiled");
    };
    let image = b"image".to_vec();
    manifest.image = Some(ImageInfo {
        engine: manifest.artifact,
        digest: Digest::of(&image),
        len: 5,
        back: -3,
        entries: vec![0],
    });
    CompileResponse::Compiled {
        manifest,
        source,
        artifact,
        image,
    }
}

#[test]
fn only_a_known_engine_may_be_missing_and_none_may_be_native_code() {
    let answer = on_an_engine();
    let back = read_response(&mut written(&answer).as_slice(), &BOUNDS, &[]);
    assert_eq!(back.expect("engine and image are there"), answer);
    let CompileResponse::Compiled {
        mut manifest,
        source,
        image,
        ..
    } = answer
    else {
        unreachable!("it is compiled");
    };
    // What comes with an image is the engine's module, and nothing that would run for others.
    if let Some(info) = &mut manifest.image {
        info.engine = engine().engine;
    }
    let native = CompileResponse::Compiled {
        manifest: manifest.clone(),
        source: source.clone(),
        artifact: b"artifact".to_vec(),
        image: image.clone(),
    };
    assert!(matches!(
        read_response(&mut written(&native).as_slice(), &BOUNDS, &[engine()]),
        Err(WorkerProtocolError::Digest { part: "engine" })
    ));
    let without_code = |manifest: &Manifest, image: &[u8]| CompileResponse::Compiled {
        manifest: Box::new(manifest.clone()),
        source: source.clone(),
        artifact: Vec::new(),
        image: image.to_vec(),
    };
    let read = |answer: &CompileResponse, known: &[KnownEngine]| {
        read_response(&mut written(answer).as_slice(), &BOUNDS, known)
    };
    let shared = without_code(&manifest, &image);
    assert_eq!(read(&shared, &[engine()]).expect("it is known"), shared);
    let other_engine = KnownEngine {
        engine: Digest::of(b"another"),
        ..engine()
    };
    let other_code = KnownEngine {
        native: Digest::of(b"another"),
        ..engine()
    };
    for known in [&[][..], &[other_engine, other_code]] {
        assert!(matches!(
            read(&shared, known),
            Err(WorkerProtocolError::Digest { part: "artifact" })
        ));
    }
    for wrong in [&b"imagf"[..], b"", b"image and more"] {
        assert!(matches!(
            read(&without_code(&manifest, wrong), &[engine()]),
            Err(WorkerProtocolError::Digest { part: "image" })
        ));
    }
    let undescribed = Manifest {
        image: None,
        ..*manifest
    };
    assert!(read(&without_code(&undescribed, &image), &[engine()]).is_err());
}

fn written(answer: &CompileResponse) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_response(&mut bytes, answer).expect("a vector takes everything");
    bytes
}

#[test]
fn answers_read_back() {
    let refused = CompileResponse::Refused(Refusal {
        code: String::from("INVALID"),
        message: String::from("no entry"),
        offset: Some(12),
    });
    for answer in [compiled(), refused] {
        let bytes = written(&answer);
        let back = read_response(&mut bytes.as_slice(), &BOUNDS, &[]).expect("unchanged");
        assert_eq!(back, answer);
    }
}

#[test]
fn every_truncation_is_an_error() {
    let (job, answer) = (job(), written(&compiled()));
    for len in 0..job.len() {
        assert!(
            matches!(
                read_request(&mut &job[..len], 8),
                Err(WorkerProtocolError::Truncated)
            ),
            "job of {len} bytes"
        );
    }
    for len in 0..answer.len() {
        assert!(
            matches!(
                read_response(&mut &answer[..len], &BOUNDS, &[]),
                Err(WorkerProtocolError::Truncated)
            ),
            "answer of {len} bytes"
        );
    }
}

#[test]
fn changed_bytes_never_panic_and_never_pass_for_the_same_code() {
    let answer = written(&compiled());
    for at in 0..answer.len() {
        let mut changed = answer.clone();
        changed[at] ^= 0x20;
        if let Ok(back) = read_response(&mut changed.as_slice(), &BOUNDS, &[]) {
            // JSON has no checksum, but the digests guarantee source and artifact.
            let (CompileResponse::Compiled { artifact, .. }, true) = (&back, back != compiled())
            else {
                panic!("byte {at} made {back:?} of it");
            };
            assert_eq!(artifact, b"artifact", "byte {at}");
        }
    }
}

#[test]
fn a_lying_length_is_refused_before_anything_is_read() {
    let mut bytes = job();
    bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        read_request(&mut bytes.as_slice(), 8),
        Err(WorkerProtocolError::TooLong {
            part: "source",
            len: u64::MAX,
            max: 8
        })
    ));
    // The bound would not fit into memory: only the bytes that arrive are allocated.
    assert!(matches!(
        read_request(&mut bytes.as_slice(), u64::MAX),
        Err(WorkerProtocolError::Truncated)
    ));
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        read_request(&mut bytes.as_slice(), 8),
        Err(WorkerProtocolError::TooLong { part: "header", .. })
    ));
}

#[test]
fn others_are_told_apart_from_other_versions() {
    let mut bytes = job();
    bytes[7] = 9;
    assert!(matches!(
        read_request(&mut bytes.as_slice(), 8),
        Err(WorkerProtocolError::Version {
            found: 9,
            expected: 2
        })
    ));
    assert!(matches!(
        read_request(&mut std::io::repeat(0).take(100), 8),
        Err(WorkerProtocolError::Magic)
    ));
    assert!(matches!(
        read_response(&mut job().as_slice(), &BOUNDS, &[]),
        Err(WorkerProtocolError::Magic)
    ));
}

#[test]
fn a_job_of_another_release_is_refused() {
    let mut bytes = job();
    let version = Profile::native().engine().wasmtime.clone();
    let at = bytes
        .windows(version.len())
        .position(|part| part == version.as_bytes())
        .expect("the version of the engine");
    bytes[at] = b'x';
    assert!(matches!(
        read_request(&mut bytes.as_slice(), 8),
        Err(WorkerProtocolError::Profile(_))
    ));
}
