//! The fuzz targets on a bounded number of inputs: damaged copies of good ones, and random bytes.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz/nightly TARGET` runs one of them without a limit.
//! `FERRITE_FUZZ_INPUTS` sets the number of inputs for each target here, and `FERRITE_FUZZ_SEEDS` a folder that the
//! good ones are written to, a folder for each target.

mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ferrite_cache::bundle::{BUNDLE_FORMAT, BundleManifest, Member, write_bundle};
use ferrite_cache::worker_protocol::{CompileRequest, SourceKind, write_request};
use ferrite_cache::{Digest, IMAGE_PAGE_BYTES, Image, ImageRun, ImageValue, Profile, patches};

use ferrite_tests::{Reply, Server};

use crate::support::guests::{ADD1, COUNT, EVERY_TYPE, MIRROR, RECURSE};
use targets::TARGETS;

/// Inputs for each target in a plain run.
const INPUTS: u32 = 20_000;

/// The same for the target of users, each of which makes the table of all commands anew: some milliseconds
/// in a debug build.
const INPUTS_OF_USERS: u32 = 500;

/// Good inputs of a target, to be damaged.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "request" => texts(&[
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n",
            "*0\r\n",
            "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
            "SET \"a b\" 'c'\r\n",
            "set k \"\\x00\\n\"\r\n",
        ]),
        "command" => texts(&[
            "WASM.CALL f TIMEOUT 5 KEYS a b ARGS c d",
            "WASM.CALL f KEYS ARGS KEYS",
            "FCALL f 2 a b c",
            "WASM.LOAD f source PERMISSIONS {} LIMITS {} ISOLATION fresh REPLACE",
            "WASM.RESULT 0123456789abcdef BLOCK 10",
            "WASM.ERRORS f LIMIT 3",
        ]),
        "reply" => texts(&[
            "*2\r\n:1\r\n$3\r\nabc\r\n",
            "%1\r\n+a\r\n*-1\r\n",
            ",1.5\r\n",
            "|1\r\n+a\r\n:1\r\n=7\r\ntxt:abc\r\n",
            "~2\r\n#t\r\n_\r\n",
            "*1\r\n*1\r\n*1\r\n(12345678901234567890\r\n",
        ]),
        "permissions" => texts(&[
            r#"{"allowed_keys": ["user:*", "a[b-c]\\d?"], "denied_keys": ["user:*:password"]}"#,
            r#"{"allowed_commands": ["GET", "SET"], "allow_write": true, "allow_network": false}"#,
        ]),
        "limits" => texts(&[
            r#"{"max_memory": "4MB", "max_time": "250ms", "max_fuel": 1000000}"#,
            r#"{"max_reply": 0, "max_writes": "1GB", "max_table_elements": 5, "max_log": "1KB"}"#,
        ]),
        "bundle" => bundles(),
        "worker_protocol" => vec![job()],
        "glob" => [
            &b"user:[0-9]*:?\0user:42:x"[..],
            b"*a*b*c\0aaaabbbbcccc",
            b"[^a-c\\]x]\\*[z-a]\0d*m",
            b"**?[\0ab[",
        ]
        .map(<[u8]>::to_vec)
        .to_vec(),
        "automation" => texts(&[
            "on release KEYS session:* EVENTS expired\ncron rollup \"0 3 * * *\" ARGS a\n",
            "on f KEYS \"a b\" [x-y]* EVENTS hset * BEFORE\nevery f 5m MISSED once KEYS k ARGS KEYS",
        ]),
        "manifest" => vec![manifest()],
        "component" => components(),
        "image" => images(),
        "config" => texts(&[
            &ferrite_server::config::Config::default().to_toml(),
            "[server]\nusers = [\"app may=read+write password=a functions=x*+y\", \"ops may=all nopass\"]\n\
             metrics_address = \"127.0.0.1:9\"\n[wasm]\naudit = \"1/100\"\n[wasm.limits]\nmax_time = \"5ms\"\n",
        ]),
        "users" => texts(&[
            "user app on >pw ~app:* %R~ref:* %W~[a-z] +@all -@dangerous +config|get functions=a*+b\n",
            "# those of others\nuser default off resetpass\nuser x on nopass allkeys (+get ~a) &* #00\n",
        ]),
        "dump" => dumps(),
        _ => modules(),
    }
}

fn modules() -> Vec<Vec<u8>> {
    [ADD1, COUNT, EVERY_TYPE, MIRROR, RECURSE]
        .iter()
        .map(|text| {
            let wasm = ferrite_compiler::to_wasm(text.as_bytes(), &Default::default());
            wasm.expect("the guests of the tests are right")
                .into_owned()
        })
        .collect()
}

/// A component of each shape that the compiler's tests accept or refuse.
fn components() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../compiler/tests/accepted/component.wat"),
        include_str!("../../../compiler/tests/refused/component-composed.wat"),
    ];
    let binary = |text: &str| {
        let wasm = ferrite_compiler::to_wasm(text.as_bytes(), &Default::default());
        wasm.expect("the components of the tests are right")
            .into_owned()
    };
    texts.map(binary).to_vec()
}

/// A whole image of one page, and one over a base.
fn images() -> Vec<Vec<u8>> {
    let whole = Image {
        engine: Digest::of(b"engine"),
        memory_pages: 2,
        over_base: false,
        runs: vec![ImageRun { first: 3, pages: 1 }],
        globals: vec![(0, ImageValue::I32(7)), (4, ImageValue::F64(1))],
    };
    let over_base = Image {
        over_base: true,
        runs: Vec::new(),
        ..whole.clone()
    };
    let changed: Vec<u8> = (0..2000).map(|at| u8::from(at % 50 < 9)).collect();
    vec![
        whole.encode(|_| Some(&[7; IMAGE_PAGE_BYTES])),
        over_base.encode_over_base(&patches::between(&[], &changed)),
    ]
}

/// Values that Valkey has dumped, without their footers.
fn dumps() -> Vec<Vec<u8>> {
    /// Bytes of the version and the checksum.
    const FOOTER: usize = 10;
    let digit = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
    };
    include_str!("../../../store/tests/all/differential/payloads.txt")
        .lines()
        .map(|line| line.as_bytes().chunks(2).map(digit).collect::<Vec<u8>>())
        .map(|payload| payload[..payload.len() - FOOTER].to_vec())
        .collect()
}

#[test]
fn dumps_of_another_server_are_taken_with_the_footer_that_is_made_for_them() {
    let server = Server::builder()
        .arguments(&["--store-persistent", "false"])
        .start();
    let mut client = server.client();
    for (at, content) in dumps().iter().enumerate() {
        let payload = targets::sealed(content);
        let key = format!("k:{at}");
        let reply = client.call(&[b"RESTORE", key.as_bytes(), b"0", &payload]);
        assert_eq!(
            reply,
            Reply::Simple("OK".into()),
            "{}",
            content.escape_ascii()
        );
        targets::dump(content);
    }
}

fn bundles() -> Vec<Vec<u8>> {
    let source = modules().remove(1);
    let module = ferrite_compiler::validate(&source, &Default::default()).expect("it is valid");
    let manifest = BundleManifest {
        format: BUNDLE_FORMAT,
        name: "count".to_owned(),
        version: "1.2.0".to_owned(),
        description: Some("counts calls".to_owned()),
        sequence: 7,
        created_unix: 1_800_000_000,
        expires_unix: None,
        isolation: Some("fresh".to_owned()),
        permissions: Some(serde_json::json!({"allow_write": true})),
        limits: None,
        module,
        source: Member {
            digest: Digest::of(&source),
            size: source.len() as u64,
        },
        artifacts: Vec::new(),
    };
    let json = manifest.to_json();
    let mut whole = Vec::new();
    write_bundle(&mut whole, &json, None, &source, &[] as &[&[u8]])
        .expect("it is written to memory");
    vec![whole, json]
}

fn job() -> Vec<u8> {
    let mut bytes = Vec::new();
    let job = CompileRequest {
        profile: Profile::native(),
        source: modules().remove(0).into(),
        kind: SourceKind::Source,
        engines: Vec::new(),
    };
    write_request(&mut bytes, &job).expect("it is written to memory");
    bytes
}

fn manifest() -> Vec<u8> {
    let compiler = ferrite_compiler::Compiler::new(&Profile::native(), Default::default());
    let compiled = compiler
        .expect("this machine is a target")
        .compile(COUNT.as_bytes())
        .expect("the guests of the tests are right");
    compiled.manifest.encode().expect("it is written to memory")
}

/// Changes a few bytes, or cuts, repeats or inserts some.
fn damage(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.u32(0..4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..8)).min(bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes.truncate(at),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => bytes.insert(
                at,
                *random.choice(b"\r\n*$:-0129{}[],\"\\\0\xff").unwrap_or(&0),
            ),
            _ => {
                bytes.drain(at..end);
            }
        }
    }
}

#[test]
fn no_reader_panics_on_damaged_input() {
    let asked = std::env::var("FERRITE_FUZZ_INPUTS")
        .ok()
        .and_then(|inputs| inputs.parse().ok());
    for (name, target) in TARGETS {
        let inputs = asked.unwrap_or(match name {
            "users" => INPUTS_OF_USERS,
            _ => INPUTS,
        });
        let seeds = seeds(name);
        let mut random = fastrand::Rng::with_seed(1);
        for number in 0..inputs {
            let mut bytes = if number % 8 == 7 {
                (0..random.usize(..64)).map(|_| random.u8(..)).collect()
            } else {
                seeds[random.usize(..seeds.len())].clone()
            };
            damage(&mut random, &mut bytes);
            let ran = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(
                ran.is_ok(),
                "{name} panicked on \"{}\"",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn every_target_has_good_inputs() {
    let folder = std::env::var_os("FERRITE_FUZZ_SEEDS").map(PathBuf::from);
    for (name, _) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        let Some(folder) = folder.as_ref().map(|folder| folder.join(name)) else {
            continue;
        };
        fs::create_dir_all(&folder).expect("it can be made");
        for (at, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("good-{at}")), seed).expect("it can be written");
        }
    }
}

#[test]
fn every_target_can_be_chosen_in_the_workflow() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows/fuzz.yml");
    let workflow = fs::read_to_string(path).expect("it is there");
    let programs = ["engines", "host", "rewind"];
    for name in TARGETS.iter().map(|(name, _)| *name).chain(programs) {
        assert!(
            workflow.contains(&format!("          - {name}\n")),
            "{name} is no choice"
        );
    }
}

#[test]
fn every_target_has_a_program_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/nightly");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("it is there");
    for (name, _) in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in tests/fuzz/nightly/Cargo.toml"
        );
        let program = folder.join(format!("fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(&program).expect("it has a program");
        assert!(program.contains(&format!("targets::{name}(")), "{program}");
    }
}
