//! Programs evaluated here are, byte for byte, those that the compiler makes.

use std::io::Read as _;

use ferrite_cache::{
    Cache, CacheOptions, CompiledModule, Digest, JavaScript, KnownEngine, Manifest, Profile,
    VerifiedArtifact,
};
use ferrite_compiler::{Compiler, SourceLimits};

use super::super::{ArtifactProvider, Depth};
use crate::artifact::compile_worker::WorkerOptions;
use crate::artifact::source::{Source, SourceOptions};
use crate::artifact::trust::TrustOptions;

/// A compiler, and a provider without one whose cache has the engine that the compiler made.
struct Scene {
    compiler: Compiler,
    /// The engine's code, which need not be compiled for each program.
    known: [KnownEngine; 1],
    provider: ArtifactProvider,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(depth: Depth) -> Self {
        let profile = Profile::native().with_stack_depth(depth == Depth::Counted);
        let compiler = Compiler::new(&profile, SourceLimits::default()).expect("a target");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(CacheOptions {
            root: folder.path().join("cache"),
            size_bytes_max: 1 << 30,
        })
        .expect("the folder is ours");
        let engine = compiler
            .compile(&JavaScript::engine())
            .expect("it is right");
        cache
            .publish_with_source(&engine.wasm, &engine.manifest, engine.code())
            .expect("there is room");
        let worker = WorkerOptions {
            program: Some("/nonexistent".into()),
            ..WorkerOptions::default()
        };
        let known = KnownEngine {
            engine: engine
                .manifest
                .image
                .as_ref()
                .expect("it has an image")
                .engine,
            native: engine.manifest.artifact,
            native_len: engine.manifest.artifact_len,
        };
        Self {
            compiler,
            known: [known],
            provider: ArtifactProvider::new(Some(cache), worker, TrustOptions::default()),
            _folder: folder,
        }
    }

    fn evaluate(&self, program: &[u8], depth: Depth) -> Result<VerifiedArtifact, String> {
        let source = Source::for_program(program, "app.js", &SourceOptions::default())
            .map_err(|error| error.to_string())?;
        match self.provider.provide(&source, depth) {
            Ok(provided) => Ok(provided.artifact),
            Err(error) => Err(error.to_string()),
        }
    }

    fn compile(&self, program: &[u8]) -> Result<CompiledModule, String> {
        let encoded = JavaScript {
            name: "app.js",
            positions: &[],
            source: program,
        }
        .encode();
        match self.compiler.compile_unless_known(&encoded, &self.known) {
            Ok(compiled) => Ok(compiled.into()),
            Err(error) => Err(format!("{} {error}", error.code())),
        }
    }
}

/// The image of an artifact.
fn image(artifact: &VerifiedArtifact) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = artifact.image().expect("it has an image");
    let mut file = file.try_clone().expect("it can be read");
    std::io::Seek::rewind(&mut file).expect("it is a file");
    file.read_to_end(&mut bytes).expect("it can be read");
    bytes
}

/// The same, whenever it was made.
fn timeless(manifest: &Manifest) -> Manifest {
    Manifest {
        compile_micros: 0,
        ..manifest.clone()
    }
}

const PROGRAMS: [&str; 4] = [
    "export function run() {}",
    "export const now = Date.now(), chance = Math.random(), zone = new Date(0).getTimezoneOffset();
     export const run = () => [now, chance, zone];
     export class Kept {}",
    "import { entry, every, integer, ReplyError } from 'ferrite-wasm';
     const numbers = [NaN, -NaN, 0 / 0, Infinity - Infinity, Math.sqrt(-1), -0, 1e308 * 10, 2 ** 0.5, Math.sin(1e9)];
     const floats = Float32Array.from(numbers), doubles = Float64Array.from(numbers);
     const big = 2n ** 4000n, text = JSON.stringify({ numbers, big: String(big) }).repeat(50);
     const found = text.match(/(?<digits>\\d+)n?/u).groups.digits, date = new Date(8.64e15).toISOString();
     const map = new Map(Array.from({ length: 5000 }, (_, i) => [`k${i}`, { i, s: String(i / 7) }]));
     function* walk() { for (const [k, v] of map) yield k + v.s; }
     await Promise.all([1, 2, 3].map(async (n) => n * 2));
     export const run = entry('run', { n: integer }, ({ n }) => [floats[n], doubles[n], found, date, [...walk()].length]);
     export function sweep() { throw new ReplyError('NO'); }
     export const automation = [every('sweep', '5m')];",
    "const room = new Uint8Array(20 << 20).fill(7); export { run as 'a b' }; const run = () => room.length;",
];

#[test]
fn evaluation_and_compilation_lead_to_the_same_code_and_memory() {
    for depth in [Depth::Free, Depth::Counted] {
        let scene = Scene::new(depth);
        for program in PROGRAMS {
            let compiled = scene.compile(program.as_bytes()).expect("it is right");
            assert!(compiled.artifact.is_empty(), "the code is the engine's");
            let evaluated = scene
                .evaluate(program.as_bytes(), depth)
                .unwrap_or_else(|error| panic!("{error}: {program}"));
            assert_eq!(
                timeless(evaluated.manifest()),
                timeless(&compiled.manifest),
                "{program}"
            );
            assert!(compiled.image == Some(image(&evaluated)), "{program}");
            assert_eq!(
                evaluated.manifest().source,
                Digest::of(&compiled.source),
                "the source is the program"
            );
        }
    }
}

#[test]
fn a_program_is_refused_in_the_same_words_by_both() {
    let scene = Scene::new(Depth::Free);
    let many: String = (0..257)
        .map(|n| format!("export function f{n}() {{}}\n"))
        .collect();
    let long = "/".repeat((8 << 20) + 1);
    for (program, expected) in [
        (
            b"\n export function run( {".as_slice(),
            "INVALID SyntaxError: invalid property name (at app.js:2:",
        ),
        (
            b"throw new RangeError('top')",
            "INVALID RangeError: top (at <anonymous> app.js:1:11)",
        ),
        (
            b"export const a = '\xff'",
            "INVALID app.js: the program is not UTF-8: byte 18",
        ),
        (
            b"const a = []; for (;;) a.push(new Uint8Array(1 << 24).fill(1));",
            "INVALID app.js: its top level takes more than 67108864 bytes of memory",
        ),
        (
            b"import { every } from 'ferrite-wasm'; export const automation = [every('gone', '5m')]; export function run() {}",
            "INVALID custom section ferrite.automation: the module has no entry \"gone\" to run; its entries are run",
        ),
        (
            b"const f = () => f(); f(); export { f }",
            "INVALID RangeError: Maximum call stack size exceeded (at f app.js:1:",
        ),
        (
            many.as_bytes(),
            "LIMIT app.js: the program exports 257 functions, where at most 256 are allowed",
        ),
        (
            long.as_bytes(),
            "LIMIT 8388609 bytes of JavaScript, where at most 8388608 are allowed",
        ),
    ] {
        let error = scene
            .evaluate(program, Depth::Free)
            .expect_err("it is wrong");
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(scene.compile(program).expect_err("it is wrong"), error);
    }
}

#[test]
fn without_a_compiler_the_error_says_how_the_engine_gets_there() {
    let scene = Scene::new(Depth::Free);
    let error = scene
        .evaluate(PROGRAMS[0].as_bytes(), Depth::Counted)
        .expect_err("there is no such engine");
    let root = scene
        .provider
        .cache()
        .expect("there is one")
        .root()
        .display();
    assert!(
        error.contains(&format!(
            "ferrite-wasmc engine javascript --cache {root} --stack-depth"
        )),
        "{error}"
    );
    assert!(error.starts_with("NOARTIFACT the cache "), "{error}");
}
