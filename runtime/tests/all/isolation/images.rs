//! Functions whose memory comes from an image, on code that they share.

use ferrite_cache::{
    Digest, IMAGE_PAGE_BYTES, Image, ImageValue, JavaScript, Profile, VerifiedArtifact,
};
use ferrite_compiler::{Compiled, Compiler, SourceLimits};
use ferrite_runtime::error::Code;
use ferrite_runtime::policy::function_spec::{FunctionSpec, Isolation};

use crate::support::{Host, TestFunction, spec};

const ISOLATIONS: [Isolation; 3] = [Isolation::Rewind, Isolation::Fresh, Isolation::Reuse];

/// A module with 160 KiB of data and a global, that replies its data, its global, the number of its calls, and
/// its size. `start` comes into the module.
fn wat(data: &str, global: i32, start: &str) -> String {
    // Three characters make a byte.
    let data = data.repeat((160 << 10) / (data.len() / 3));
    format!(
        r#"(module
            (memory (export "memory") 5 8)
            (data (i32.const 100000) "{data}")
            (global $own (mut i32) (i32.const {global}))
            (global $float (mut f64) (f64.const -1.5))
            {start}
            (func $count (export "count") (result i32)
                (i32.store (i32.const 100000) (i32.add (i32.load (i32.const 100000)) (i32.const 1)))
                (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
                (global.set $own (i32.add (global.get $own) (i32.const 1)))
                (global.set $float (f64.add (global.get $float) (f64.const 1)))
                (i32.load (i32.const 16)))
            (func (export "grow") (result i32)
                (drop (memory.grow (i32.const 1)))
                (i32.store (i32.const 327680) (i32.const 7))
                (memory.size))
            (func (export "run") (result i32 i32 i32 f64)
                (drop (call $count))
                (i32.load (i32.const 100000)) (global.get $own) (memory.size) (global.get $float))
            (func (export "beyond") (result i32) (i32.load (i32.const 327680)))
            (func (export "fail") unreachable))"#
    )
}

fn compiled(wat: &str) -> Compiled {
    let compiler = Compiler::new(&Profile::native(), SourceLimits::default());
    compiler
        .and_then(|compiler| compiler.compile(wat.as_bytes()))
        .expect("it is right")
}

fn hold(host: &Host, compiled: &Compiled, isolation: Isolation) -> TestFunction {
    let artifact = VerifiedArtifact::in_memory(compiled.manifest.clone(), compiled.code());
    let spec = FunctionSpec {
        isolation,
        ..spec()
    };
    let artifact = artifact.expect("the manifest is its own");
    host.runtime.hold(&artifact, spec).expect("it loads")
}

async fn call(host: &Host, function: &TestFunction, entry: &str) -> String {
    let request = ferrite_runtime::CallRequest::new(b"test", &[], &[]);
    let mut reply = ferrite_protocol::resp::Encoder::new(ferrite_protocol::resp::Protocol::Resp3);
    let entry = function.entry_named(Some(entry.as_bytes()));
    host.runtime
        .call(&request.with_function(entry), &mut reply)
        .await;
    String::from_utf8_lossy(reply.bytes())
        .replace("\r\n", " ")
        .trim_end()
        .to_owned()
}

#[tokio::test]
async fn two_functions_on_one_engine_see_memories_of_their_own() {
    for isolation in ISOLATIONS {
        let host = Host::new();
        let (one, other) = (
            compiled(&wat("\\01\\00\\00\\00", 10, "")),
            compiled(&wat("\\02\\00\\00\\00", 20, "")),
        );
        assert!(one.image.is_some());
        assert_eq!(one.manifest.artifact, other.manifest.artifact);
        let (one, other) = (hold(&host, &one, isolation), hold(&host, &other, isolation));
        for calls in 1..20 {
            // What earlier calls wrote is there only if instances are reused.
            let before = if isolation == Isolation::Reuse {
                calls
            } else {
                1
            };
            let expected = |data: i32, global: i32| {
                let float = -1.5 + f64::from(before);
                format!("*4 :{} :{} :5 ,{float}", data + before, global + before)
            };
            assert_eq!(call(&host, &one, "run").await, expected(1, 10));
            assert_eq!(call(&host, &other, "run").await, expected(2, 20));
        }
        assert_eq!(one.rewinding_differences(), 0);
    }
}

#[tokio::test]
async fn memory_grows_and_ends_where_the_module_says() {
    for isolation in ISOLATIONS {
        let host = Host::new();
        let function = hold(&host, &compiled(&wat("\\01\\00", 1, "")), isolation);
        for _ in 0..3 {
            let reply = call(&host, &function, "beyond").await;
            assert!(reply.contains("out of bounds"), "{isolation}: {reply}");
            if isolation != Isolation::Reuse {
                assert_eq!(call(&host, &function, "grow").await, ":6");
            }
        }
    }
}

#[tokio::test]
async fn start_functions_and_initialisers_run_on_the_image() {
    let start = r#"
        (func $init (global.set $own (i32.load (i32.const 100000)))
            (i32.store (i32.const 100000) (i32.const 70)))"#;
    for (how, start) in [
        ("start", format!("{start} (start $init)")),
        (
            "initialiser",
            format!("{start} (export \"_initialize\" (func $init))"),
        ),
    ] {
        let compiled = compiled(&wat("\\03\\00\\00\\00", 10, &start));
        assert!(compiled.image.is_some());
        for isolation in ISOLATIONS {
            let host = Host::new();
            let function = hold(&host, &compiled, isolation);
            for calls in 1..5 {
                let before = if isolation == Isolation::Reuse {
                    calls
                } else {
                    1
                };
                let float = -1.5 + f64::from(before);
                assert_eq!(
                    call(&host, &function, "run").await,
                    format!("*4 :{} :{} :5 ,{float}", 70 + before, 3 + before),
                    "{how} {isolation}"
                );
            }
            assert_eq!(function.rewinding_differences(), 0);
        }
    }
}

#[tokio::test]
async fn errors_name_the_offset_in_the_source() {
    let text = wat("\\01", 1, "");
    let compiled = compiled(&text);
    // The instruction is the only one of its kind, before the end of its function, which is the last.
    let code = compiled
        .wasm
        .windows(3)
        .rposition(|three| three == [0, 0x00, 0x0b])
        .expect("there is one")
        + 1;
    let host = Host::new();
    for isolation in ISOLATIONS {
        let function = hold(&host, &compiled, isolation);
        let reply = call(&host, &function, "fail").await;
        assert!(
            reply.contains(&format!("{code:#x}")),
            "{reply}, not {code:#x}"
        );
    }
}

/// Returns the error of loading an artifact whose image was changed, with a manifest that describes the change.
fn refused(compiled: &Compiled, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut image = compiled.image.clone().expect("it has an image");
    change(&mut image);
    let mut manifest = compiled.manifest.clone();
    if let Some(info) = &mut manifest.image {
        info.digest = Digest::of(&image);
        info.len = image.len() as u64;
    }
    let code = ferrite_cache::ArtifactBytes {
        native: &compiled.artifact,
        image: Some(&image),
    };
    let artifact = VerifiedArtifact::in_memory(manifest, code).expect("the manifest is its own");
    let host = Host::new();
    let Err(error) = host.runtime.hold(&artifact, spec()) else {
        panic!("an image that does not fit was loaded");
    };
    assert_eq!(error.code(), Code::Invalid);
    error.to_string()
}

#[test]
fn an_image_that_does_not_fit_its_engine_is_refused() {
    let compiled = compiled(&wat("\\01", 1, ""));
    let image = compiled.image.as_deref().expect("it has an image");
    let decoded = Image::decode(image, image.len() as u64).expect("it is one");
    assert_eq!(decoded.globals[0], (0, ImageValue::I32(1)));
    let globals = 52 + 8 * decoded.runs.len();
    for (expected, change) in [
        (
            "the image is for the engine blake3:",
            Box::new(|image: &mut Vec<u8>| image[8] ^= 1) as Box<dyn FnOnce(&mut Vec<u8>)>,
        ),
        ("these bytes are no image", Box::new(|image| image[0] ^= 1)),
        ("the image has version 9", Box::new(|image| image[7] = 9)),
        (
            "the image has a memory of 6 pages, and the module one of 5",
            Box::new(|image| image[40] = 6),
        ),
        (
            "the image has contents up to",
            Box::new(|image| image[53] = 2),
        ),
        (
            "the image has another length than it says",
            Box::new(|image| image.truncate(image.len() - IMAGE_PAGE_BYTES)),
        ),
        (
            "the image has another length than it says",
            Box::new(|image| image.truncate(20)),
        ),
        (
            "the image sets global 7, and the engine has 2",
            Box::new(move |image| image[globals + 21] = 7),
        ),
        (
            "the image gives global 0 a value of another type than it has",
            Box::new(move |image| image[globals + 4] = 0x7d),
        ),
    ] {
        let said = refused(&compiled, change);
        assert!(said.contains(expected), "{said}, not: {expected}");
        assert!(said.contains("compile it again"), "{said}");
    }
}

#[test]
fn what_an_image_changes_of_a_base_lies_in_its_memory() {
    let program = JavaScript {
        name: "app.js",
        positions: &[],
        source: b"export function run() {}",
    };
    let compiler = Compiler::new(&Profile::native(), SourceLimits::default());
    let compiled = compiler
        .and_then(|compiler| compiler.compile(&program.encode()))
        .expect("it is right");
    let bytes = compiled.image.as_deref().expect("it has an image");
    let image = Image::decode(bytes, bytes.len() as u64).expect("it is one");
    assert!(image.over_base);
    let with = |patches: &[u8]| image.encode_over_base(patches);
    let end = image.memory_pages * 65_536;
    let patch = |at: u32, len: u32, bytes: &[u8]| {
        [&at.to_le_bytes()[..], &len.to_le_bytes(), bytes].concat()
    };
    for (expected, changed) in [
        (
            "the image has contents up to",
            with(&patch(end - 1, 2, b"ab")),
        ),
        (
            "the image has contents up to",
            with(&patch(u32::MAX, 1, b"a")),
        ),
        (
            "the patches of a memory are malformed",
            with(&patch(0, 3, b"ab")),
        ),
        (
            "the patches of a memory are malformed",
            with(&patch(0, u32::MAX, b"ab")),
        ),
        ("the patches of a memory are malformed", with(b"abc")),
        (
            "the patches of a memory are malformed",
            with(&[patch(8, 1, b"a"), patch(8, 1, b"b")].concat()),
        ),
    ] {
        let said = refused(&compiled, |image| *image = changed);
        assert!(said.contains(expected), "{said}, not: {expected}");
        assert!(said.contains("compile it again"), "{said}");
    }

    // Another engine, which has no base.
    let other = self::compiled(&wat("\\01", 1, ""));
    let said = refused(&other, |bytes| {
        let whole = Image::decode(bytes, bytes.len() as u64).expect("it is one");
        let over_base = Image {
            over_base: true,
            runs: Vec::new(),
            ..whole
        };
        *bytes = over_base.encode_over_base(&patch(0, 1, b"a"));
    });
    assert!(said.contains("this engine has none"), "{said}");
}

#[test]
fn an_engine_is_no_function() {
    let mut compiled = compiled(&wat("\\01", 1, ""));
    // As if someone described the shared code as a module of its own.
    compiled.manifest.image = None;
    let code = ferrite_cache::ArtifactBytes::from(&compiled.artifact);
    let artifact = VerifiedArtifact::in_memory(compiled.manifest, code).expect("it is its own");
    let host = Host::new();
    let Err(error) = host.runtime.hold(&artifact, spec()) else {
        panic!("a module without its entries was loaded");
    };
    assert!(error.to_string().contains("has no function"), "{error}");
}
