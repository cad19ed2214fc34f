//! Code that programs share is compiled once, and what they have of their own becomes an image.

use std::borrow::Cow;
use std::io::Write as _;

use ferrite_cache::worker_protocol::{
    CompileRequest, CompileResponse, ResponseLimits, SourceKind, read_response, write_request,
};
use ferrite_cache::{
    Digest, Image, ImageInfo, JavaScript, KnownEngine, Manifest, Profile, engine_base, patches,
};
use ferrite_compiler::{Compiled, Compiler, SourceLimits, to_wasm, worker};

const ANSWER_BOUNDS: ResponseLimits = ResponseLimits {
    source_bytes_max: 1 << 30,
    artifact_bytes_max: 1 << 30,
};

fn compiler() -> Compiler {
    Compiler::new(&Profile::native(), SourceLimits::default()).expect("this machine is a target")
}

/// Makes a module of a program in JavaScript.
fn program(source: &str) -> Vec<u8> {
    let encoded = JavaScript {
        name: "app.js",
        positions: &[],
        source: source.as_bytes(),
    }
    .encode();
    to_wasm(&encoded, &SourceLimits::default())
        .expect("it is right")
        .into_owned()
}

/// A module with `pages` pages of data of 64 KiB, each byte of which is `byte`, and a global.
fn module(pages: usize, byte: u8, global: i64) -> String {
    let data = format!("\\{byte:02x}").repeat(pages << 16);
    format!(
        r#"(module
            (memory (export "memory") {})
            (data (i32.const 65536) "{data}")
            (global $own (mut i64) (i64.const {global}))
            (func (export "run") (result i64)
                (global.set $own (i64.add (global.get $own) (i64.const 1)))
                (i64.add (global.get $own) (i64.extend_i32_u (i32.load8_u (i32.const 65536))))))"#,
        pages + 2
    )
}

fn info(manifest: &Manifest) -> &ImageInfo {
    manifest.image.as_ref().expect("it was separated")
}

#[test]
fn programs_share_their_engine_and_have_images_of_their_own() {
    let compiler = compiler();
    let one = compiler
        .compile(&program("export function run() { return 1 }"))
        .expect(crate::VALID);
    let other = program(
        "const all = new Uint8Array(90000).fill(7); export const [a, b, run] = [() => all[1], () => 2, () => 3];",
    );
    let known = KnownEngine {
        engine: info(&one.manifest).engine,
        native: one.manifest.artifact,
        native_len: one.manifest.artifact_len,
    };
    let other = compiler
        .compile_unless_known(&other, &[known])
        .expect(crate::VALID);
    assert!(other.artifact.is_empty(), "the code is known");
    assert_eq!(other.manifest.artifact, one.manifest.artifact);
    assert_ne!(info(&other.manifest).digest, info(&one.manifest).digest);
    assert_eq!(info(&other.manifest).entries, [0, 1, 2]);
    for compiled in [&one, &other] {
        let bytes = compiled.image.as_deref().expect("it has an image");
        let image = Image::decode(bytes, bytes.len() as u64).expect("it is one");
        let manifest = &compiled.manifest;
        assert_eq!(image.check(info(manifest), &manifest.module), Ok(()));
        assert!(!image.globals.is_empty());
        assert!(image.over_base);
    }
    let len = |compiled: &Compiled| compiled.image.as_ref().map(Vec::len);
    let (few, many) = (
        len(&one).expect("it has one"),
        len(&other).expect("it has one"),
    );
    assert!(few < 16_000, "{few} bytes for a function that does nothing");
    assert!(
        (90_000..110_000).contains(&many),
        "{many} bytes for 90,000 of its own"
    );
}

#[test]
fn an_engine_brings_the_memory_that_its_programs_begin_with() {
    let compiler = compiler();
    let engine = compiler
        .compile(&JavaScript::engine())
        .expect("it is right");
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&engine.artifact).expect("there is room");
    let base = engine_base::read(&file, engine.artifact.len() as u64).expect("it can be read");
    let base = base.expect("it has a base");
    let image = engine.image.as_deref().expect("it has an image");
    let header = Image::decode(image, image.len() as u64).expect("it is one");
    assert_eq!(
        header.contents_start(),
        image.len(),
        "the engine changes nothing of its base"
    );
    let mut memory = vec![0; header.memory_pages as usize * 65_536];
    assert_eq!(patches::apply(&base, &mut memory), Ok(()));
    // A module may have such a section too. It is left alone if code is not made to be shared.
    let text = module(2, 1, 5);
    for section in ["no base", r"\00\00\00\00\01\00\00\00x"] {
        let own = text.replacen(
            "(module",
            &format!("(module (@custom \"ferrite:base\" \"{section}\")"),
            1,
        );
        let one = compiler.compile(text.as_bytes()).expect(crate::VALID);
        let other = compiler.compile(own.as_bytes()).expect(crate::VALID);
        assert_eq!(one.image, other.image);
        assert_eq!(one.artifact, other.artifact);
    }
}

#[test]
fn the_engine_itself_is_the_code_of_its_programs() {
    let compiler = compiler();
    let engine = compiler
        .compile(&JavaScript::engine())
        .expect("it is right");
    assert_eq!(engine.manifest.source, Digest::of(&JavaScript::engine()));
    assert_eq!(engine.manifest.module.entries, []);
    let many: String = (0..200)
        .map(|n| format!("export function f{n}() {{}}\n"))
        .collect();
    for source in ["export function run() {}", &many] {
        let known = KnownEngine {
            engine: info(&engine.manifest).engine,
            native: engine.manifest.artifact,
            native_len: engine.manifest.artifact_len,
        };
        let program = compiler.compile_unless_known(&program(source), &[known]);
        let program = program.expect(crate::VALID);
        assert_eq!(info(&program.manifest).engine, known.engine);
        assert!(program.artifact.is_empty(), "the code is known");
    }
    let other = JavaScript {
        name: "blake3:0000",
        positions: &[],
        source: b"",
    };
    let error = compiler
        .compile(&other.encode())
        .expect_err("no other engine is here");
    assert!(
        error.to_string().contains("is that of another release"),
        "{error}"
    );
}

#[test]
fn modules_that_differ_in_data_and_globals_alone_share_their_code() {
    let compiler = compiler();
    let compile = |text: String| compiler.compile(text.as_bytes()).expect(crate::VALID);
    let one = compile(module(2, 1, 5));
    let engine = |compiled: &Compiled| info(&compiled.manifest).engine;
    for (same, other) in [
        (true, compile(module(3, 0xff, i64::MIN))),
        (
            false,
            compile(module(2, 1, 5).replace("i64.add", "i64.sub")),
        ),
    ] {
        assert_eq!(engine(&one) == engine(&other), same);
        assert_eq!(one.artifact == other.artifact, same);
        assert_ne!(one.image, other.image);
    }
    // Small data are copied as fast as they are mapped.
    assert_eq!(compile(module(1, 1, 5)).image, None);
    assert_eq!(compile(module(2, 0, 5)).image, None, "zeros are no data");
}

#[test]
fn modules_whose_memory_is_not_known_before_they_run_stay_whole() {
    let compiler = compiler();
    let whole = |text: &str| {
        let compiled = compiler.compile(text.as_bytes()).expect(crate::VALID);
        assert_eq!(compiled.image, None);
        assert_eq!(compiled.manifest.image, None);
    };
    let text = module(2, 1, 5);
    whole(&text.replace("(data (i32.const 65536)", "(data $d"));
    whole(&text.replace("(data (i32.const 65536)", "(data (i32.const 6553600)"));
    // It cannot be rewound.
    whole(&text.replace(
        "(func (export \"run\")",
        "(table 1 funcref) (func (export \"set\") (table.set (i32.const 0) (ref.null func))) (func (export \"run\")",
    ));
    // Data that lie far apart would be zeros for the most part.
    let far: String = (0..64)
        .map(|page| format!("(data (i32.const {}) \"x\")", page * 512 * 1024))
        .collect();
    whole(
        &text
            .replace("(global $own", &format!("{far} (global $own"))
            .replace(") 4)", ") 600)"),
    );
}

#[test]
fn a_worker_leaves_the_engine_to_one_that_sees_nothing_else() {
    let profile = Profile::native();
    let ask = |kind, source: &[u8], engines: &[KnownEngine]| {
        let request = CompileRequest {
            profile: profile.clone(),
            source: Cow::Borrowed(source),
            kind,
            engines: engines.to_vec(),
        };
        let (mut input, mut output) = (Vec::new(), Vec::new());
        write_request(&mut input, &request).expect("memory takes everything");
        worker::serve(&mut input.as_slice(), &mut output, &SourceLimits::default())
            .expect("memory takes everything");
        read_response(&mut output.as_slice(), &ANSWER_BOUNDS, engines).expect("a whole answer")
    };
    let source = module(2, 1, 5);
    let compiled = compiler().compile(source.as_bytes()).expect(crate::VALID);
    let CompileResponse::Compiled {
        manifest,
        artifact: engine,
        image,
        ..
    } = ask(SourceKind::Source, source.as_bytes(), &[])
    else {
        panic!("{}", crate::VALID);
    };
    assert_eq!(Some(image), compiled.image);
    assert_eq!(Digest::of(&engine), info(&manifest).engine);
    let CompileResponse::Engine { artifact } = ask(SourceKind::Engine, &engine, &[]) else {
        panic!("{}", crate::VALID);
    };
    assert_eq!(artifact, compiled.artifact);
    let known = KnownEngine {
        engine: info(&manifest).engine,
        native: Digest::of(&artifact),
        native_len: artifact.len() as u64,
    };
    let CompileResponse::Compiled {
        manifest, artifact, ..
    } = ask(SourceKind::Source, source.as_bytes(), &[known])
    else {
        panic!("{}", crate::VALID);
    };
    assert!(artifact.is_empty());
    assert_eq!(manifest.artifact, known.native);
    let refused = ask(SourceKind::Engine, b"no module", &[]);
    assert!(matches!(refused, CompileResponse::Refused(_)));
}
