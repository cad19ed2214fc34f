//! Tests of the way to an artifact, with a compiler that is a script.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ferrite_cache::worker_protocol::{CompileResponse, write_response};
use ferrite_cache::{Cache, CacheOptions, Digest, Manifest, ModuleInfo, Profile, Rewind};

use super::{ArtifactProvider, Depth};
use crate::artifact::compile_worker::WorkerOptions;
use crate::artifact::source::Source;
use crate::artifact::trust::TrustOptions;

const WASM: &[u8] = b"\0asm\x01\0\0\0";
const ARTIFACT: &[u8] = b"native code, as far as these tests look";

fn manifest() -> Manifest {
    Manifest {
        source: Digest::of(WASM),
        source_len: WASM.len() as u64,
        artifact: Digest::of(ARTIFACT),
        artifact_len: ARTIFACT.len() as u64,
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
            automation: ferrite_cache::Automation::default(),
            limits: None,
        },
        compile_micros: 1,
        signed_by: None,
        image: None,
    }
}

/// A folder with a cache and a worker that answers with `manifest`.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(manifest: Manifest) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fake-worker.sh");
        let scene = Self { folder };
        symlink(script, scene.worker())?;
        let mut answer = Vec::new();
        let compiled = CompileResponse::Compiled {
            manifest: Box::new(manifest),
            source: WASM.to_vec(),
            artifact: ARTIFACT.to_vec(),
            image: Vec::new(),
        };
        write_response(&mut answer, &compiled).expect("memory takes it");
        fs::write(scene.folder.path().join("worker.answer"), answer)?;
        Ok(scene)
    }

    fn worker(&self) -> PathBuf {
        self.folder.path().join("worker")
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.folder.path().join("worker.runs"))
            .map_or(0, |runs| runs.lines().count())
    }

    fn provide(&self, cached: bool) -> ArtifactProvider {
        let options = CacheOptions {
            root: self.folder.path().join("cache"),
            size_bytes_max: 1 << 20,
        };
        let cache = cached.then(|| Cache::open(options).expect("the folder is ours"));
        ArtifactProvider::new(
            cache,
            WorkerOptions {
                program: Some(self.worker()),
                ..WorkerOptions::default()
            },
            TrustOptions::default(),
        )
    }
}

#[test]
fn what_was_compiled_once_is_found_by_its_bytes_and_its_digest() -> std::io::Result<()> {
    let scene = Scene::new(manifest())?;
    let provider = scene.provide(true);
    let digest = Digest::of(WASM);
    let missing = provider
        .provide(&Source::Cached(digest), Depth::Free)
        .expect_err("not there");
    let root = scene.folder.path().join("cache");
    assert_eq!(
        missing.to_string(),
        format!(
            "NOARTIFACT {digest} is not in the cache {root}; put it there by ferrite-wasmc compile FILE --cache {root}, or give the module itself",
            root = root.display()
        )
    );

    let wasm = Source::Wasm(Cow::Borrowed(WASM));
    let compiled = provider
        .provide(&wasm, Depth::Free)
        .expect("the worker answers");
    assert!(!compiled.from_cache);
    for source in [&wasm, &Source::Cached(digest)] {
        let found = provider.provide(source, Depth::Free).expect("it is there");
        assert!(found.from_cache);
        assert_eq!(found.artifact.manifest(), compiled.artifact.manifest());
    }
    assert_eq!(scene.runs(), 1);

    // Another process, and the artifact is gone: the source is still there.
    fs::remove_dir_all(
        root.join("v1")
            .join(Profile::native().fingerprint().to_string()),
    )?;
    let again = scene
        .provide(true)
        .provide(&Source::Cached(digest), Depth::Free)
        .expect("the source stays");
    assert!(!again.from_cache);
    assert_eq!(scene.runs(), 2);
    Ok(())
}

#[test]
fn text_is_named_by_what_it_stands_for() -> std::io::Result<()> {
    let scene = Scene::new(manifest())?;
    let provider = scene.provide(true);
    let text = Source::Text(Cow::Borrowed(b"(module)"));
    let compiled = provider
        .provide(&text, Depth::Free)
        .expect("the worker answers");
    assert_eq!(compiled.artifact.manifest().source, Digest::of(WASM));
    let found = provider
        .provide(&Source::Cached(Digest::of(WASM)), Depth::Free)
        .expect("it is there");
    assert!(found.from_cache);
    Ok(())
}

#[test]
fn without_a_cache_everything_is_in_memory() -> std::io::Result<()> {
    let scene = Scene::new(manifest())?;
    let provider = scene.provide(false);
    let wasm = Source::Wasm(Cow::Borrowed(WASM));
    for runs in 1..3 {
        let compiled = provider
            .provide(&wasm, Depth::Free)
            .expect("the worker answers");
        assert!(!compiled.from_cache);
        assert_eq!(scene.runs(), runs);
    }
    let error = provider
        .provide(&Source::Cached(Digest::of(WASM)), Depth::Free)
        .expect_err("no cache");
    assert!(
        error
            .to_string()
            .starts_with("NOARTIFACT no cache is configured, so blake3:")
    );
    Ok(())
}

#[test]
fn an_answer_for_something_else_is_refused() -> std::io::Result<()> {
    let scene = Scene::new(manifest())?;
    let provider = scene.provide(true);
    let other = Source::Wasm(Cow::Borrowed(b"\0asm\x01\0\0\0\0\x01\0"));
    let error = provider
        .provide(&other, Depth::Free)
        .expect_err("another module");
    assert_eq!(
        error.to_string(),
        "NOARTIFACT the compiler answered for another module or machine; use a ferrite-wasmc of the same release"
    );
    Ok(())
}

#[test]
fn many_who_ask_at_once_compile_once() -> std::io::Result<()> {
    let scene = Scene::new(manifest())?;
    let provider = scene.provide(true);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let wasm = Source::Wasm(Cow::Borrowed(WASM));
                provider
                    .provide(&wasm, Depth::Free)
                    .expect("the worker answers");
            });
        }
    });
    assert_eq!(scene.runs(), 1);
    Ok(())
}
