//! Every host function with its worst arguments: what a guest pays, against the bytes that it names.
//!
//! The tables have to name each import of the ABI and of WASI, so a new one cannot be forgotten.
//! `store/src/commands/cost.rs` does the same for the commands that `call` reaches.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_wasm_abi::IMPORTS;
use ferrite_wasm_abi::wasi::{PREVIEW1, PREVIEW1_MODULE};

use crate::support::{Host, guest};

/// Bytes of the long text that begins at 0, where memory is zero.
const TEXT: u64 = 1 << 20;
/// Bytes of a long key.
const KEY: u64 = 60_000;
/// Pairs of a pointer and a length behind the text, each of which names a long key.
const PAIRS: u64 = 1_000;
/// Lowest price of calling the host.
const CALL: u64 = 20;
/// Bytes of a unit.
const BYTES_PER_UNIT: u64 = 8;

/// Calls of host functions, with the bytes that the host reads or writes for them. `T` stands for the
/// text, `K` for a long key, `k` for a short one, `P` for the pairs, `C` for a command.
const CALLS: [(&str, &str, u64); 46] = [
    ("key_count", "", 0),
    ("arg_count", "", 0),
    ("key", "0 T", KEY),
    ("arg", "0 T", TEXT),
    ("reply_null", "", 0),
    ("reply_bool", "1", 0),
    ("reply_int", "1L", 0),
    ("reply_double", "1D", 0),
    ("reply_bulk", "T", TEXT),
    ("reply_simple", "T", TEXT),
    ("reply_error", "T", TEXT),
    ("reply_array", "2147483647", 0),
    ("reply_map", "1073741823", 0),
    ("get", "k T", TEXT),
    ("set", "k T 0 -1L", TEXT),
    ("del", "P", PAIRS * KEY),
    ("exists", "P", PAIRS * KEY),
    ("incr_by", "K 1L 0", KEY),
    ("expire", "K 1L", KEY),
    ("ttl", "K", KEY),
    ("hget", "K K T", 2 * KEY),
    ("hset", "K K T", 2 * KEY + TEXT),
    ("hdel", "k P", PAIRS * KEY),
    ("call", "C T T", TEXT),
    ("take", "0 0 1048576", 0),
    ("log", "2 T", TEXT),
    ("time_millis", "", 0),
    ("random", "T", TEXT),
    ("http", "T T", TEXT),
    ("after_commit", "T T", TEXT),
    ("config", "T T", TEXT),
    ("config_names", "T", 0),
    ("fd_write", "1 P 512", PAIRS * 8),
    // Standard input is empty.
    ("fd_read", "0 P 512", 0),
    ("fd_pwrite", "1 P 0L 512", 0),
    ("fd_pread", "0 P 0L 512", 0),
    ("random_get", "T", TEXT),
    ("poll_oneoff", "0 1048576 10 512", 480),
    ("path_open", "3 0 K 0 0L 0L 0 512", 0),
    ("path_create_directory", "3 K", 0),
    ("path_filestat_get", "3 0 K 512", 0),
    ("path_remove_directory", "3 K", 0),
    ("path_rename", "3 K 3 K", 0),
    ("path_unlink_file", "3 K", 0),
    ("fd_readdir", "3 T 0L 512", 0),
    ("sched_yield", "", 0),
];

/// Functions of WASI that name no bytes of their own, or that are not there and look at none.
const WITHOUT_BYTES: [&str; 32] = [
    "args_get",
    "args_sizes_get",
    "environ_get",
    "environ_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "path_filestat_set_times",
    "path_link",
    "path_readlink",
    "path_symlink",
    "proc_exit",
    "proc_raise",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Names in the directory that is listed, and bytes of the scratch directory.
const NAMES: u64 = 500;
const SCRATCH: u64 = 8 << 20;

/// Calls on open files, with the units that they owe at least. `F` stands for a file of the text's
/// length, `D` for a directory, `W` for a file that is written, `Z` for pairs without a length, and `O`
/// for one pair.
const FILE_CALLS: [(&str, &str, u64); 13] = [
    ("fd_read", "F P 512", TEXT / BYTES_PER_UNIT),
    ("fd_pread", "F P 0L 512", TEXT / BYTES_PER_UNIT),
    ("fd_read", "F Z 512", PAIRS),
    ("fd_pread", "F Z 0L 512", PAIRS),
    ("fd_write", "W P 512", (SCRATCH - 2 * KEY) / BYTES_PER_UNIT),
    (
        "fd_pwrite",
        "W P 0L 512",
        (SCRATCH - 2 * KEY) / BYTES_PER_UNIT,
    ),
    ("fd_write", "W Z 512", PAIRS),
    ("fd_pwrite", "W Z 0L 512", PAIRS),
    ("fd_pwrite", "W O 7000000L 512", 7_000_000 / BYTES_PER_UNIT),
    (
        "fd_filestat_set_size",
        "W 8000000L",
        8_000_000 / BYTES_PER_UNIT,
    ),
    (
        "fd_readdir",
        "D T 0L 512",
        TEXT / BYTES_PER_UNIT + NAMES * 50,
    ),
    ("path_filestat_get", "3 0 2000300 4 512", SYSTEM_CALL),
    ("path_unlink_file", "4 2000304 1", SYSTEM_CALL),
];

/// Units of a system call.
const SYSTEM_CALL: u64 = 1_000;

/// Opens the files of [`FILE_CALLS`], and puts their descriptors behind the text.
const OPEN_FILES: &str = r#"
    (if (call $open_file (i32.const 3) (i32.const 0) (i32.const 2000304) (i32.const 1) (i32.const 0)
            (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 2000200)) (then unreachable))
    (if (call $open_file (i32.const 3) (i32.const 0) (i32.const 2000300) (i32.const 4) (i32.const 2)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2000204)) (then unreachable))
    (if (call $open_file (i32.const 4) (i32.const 0) (i32.const 2000304) (i32.const 1) (i32.const 1)
            (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 2000208)) (then unreachable))"#;

/// A guest that writes the pairs and then makes a call, if there is one, after it has opened `files`.
fn caller(call: Option<(&str, &str)>, files: bool) -> String {
    let mut imports = String::new();
    let mut code = String::new();
    let mut opening = "";
    if files {
        opening = OPEN_FILES;
        let _ = write!(
            imports,
            r#"(import "{PREVIEW1_MODULE}" "path_open" (func $open_file
                (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#
        );
    }
    if let Some((name, arguments)) = call {
        for import in PREVIEW1.iter().filter(|import| import.name == name) {
            let params: Vec<_> = import.params.iter().map(|ty| ty.name()).collect();
            let params = params.join(" ");
            let result = import.result.map_or("", |_| "(result i32)");
            let _ = write!(
                imports,
                r#"(import "{PREVIEW1_MODULE}" "{name}" (func ${name} (param {params}) {result}))"#,
            );
        }
        let returns = IMPORTS.iter().chain(PREVIEW1);
        let returns = returns.clone().find(|import| import.name == name);
        let has_result = returns.is_some_and(|import| import.result.is_some());
        let mut words = String::new();
        for argument in arguments.split_whitespace() {
            let number = |ty: &str, number: &str| format!("({ty}.const {number})");
            let text = match argument {
                "T" => number("i32", "0") + &number("i32", &TEXT.to_string()),
                "K" => number("i32", "0") + &number("i32", &KEY.to_string()),
                "k" => number("i32", "0") + &number("i32", "1"),
                "P" => number("i32", &TEXT.to_string()) + &number("i32", &PAIRS.to_string()),
                "C" => number("i32", "2000000") + &number("i32", "4"),
                "Z" => number("i32", "3000000") + &number("i32", &PAIRS.to_string()),
                "O" => number("i32", &TEXT.to_string()) + &number("i32", "1"),
                "F" => "(i32.load (i32.const 2000200))".to_owned(),
                "D" => "(i32.load (i32.const 2000204))".to_owned(),
                "W" => "(i32.load (i32.const 2000208))".to_owned(),
                _ => match (argument.strip_suffix('L'), argument.strip_suffix('D')) {
                    (Some(long), _) => number("i64", long),
                    (None, Some(double)) => number("f64", double),
                    (None, None) => number("i32", argument),
                },
            };
            words.push_str(&text);
        }
        let called = format!("(call ${name} {words})");
        code = match has_result {
            true => format!("(drop {called})"),
            false => called,
        };
    }
    guest(&format!(
        r#"(data (i32.const 2000000) "ECHO")
        (data (i32.const 2000300) "many")
        (data (i32.const 2000304) "f")
        (func (export "run") (local $at i32)
            (local.set $at (i32.const {TEXT}))
            (loop $next
                (i64.store (local.get $at) (i64.const {}))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const {}))))
            {opening}
            {code})"#,
        KEY << 32,
        TEXT + 8 * PAIRS,
    ))
    .replacen(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 64)",
        1,
    )
    // Imports come before everything else.
    .replacen("(module\n", &format!("(module\n{imports}\n"), 1)
}

/// The fuel of a call of this guest, whatever its end.
async fn fuel_of(call: Option<(&str, &str)>) -> u64 {
    fuel_with(call, &[]).await
}

/// The same, with these directories, in which files are open.
async fn fuel_with(call: Option<(&str, &str)>, directories: &[Directory]) -> u64 {
    let host = Host::with_runtime(RuntimeOptions {
        directories: directories.to_vec(),
        ..RuntimeOptions::default()
    });
    host.keyspace.put("\0", &"v".repeat(TEXT as usize));
    let function = host.load_with(&caller(call, !directories.is_empty()), |spec| {
        spec.limits.fuel_max = 1_000_000_000;
        spec.directories = directories.into();
    });
    let (key, arg) = ("k".repeat(KEY as usize), "a".repeat(TEXT as usize));
    let (keys, args) = ([key.as_bytes()], [arg.as_bytes()]);
    let request = CallRequest::new(b"test", &keys, &args);
    let (_, outcome) = host.request(Protocol::Resp3, &function, &request).await;
    outcome.fuel
}

#[test]
fn the_tables_have_every_host_function() {
    let known: BTreeSet<&str> = IMPORTS
        .iter()
        .chain(PREVIEW1)
        .map(|import| import.name)
        .collect();
    let listed: BTreeSet<&str> = CALLS
        .iter()
        .map(|(name, ..)| *name)
        .chain(WITHOUT_BYTES)
        .collect();
    assert_eq!(listed, known, "give each host function its worst arguments");
}

#[tokio::test]
async fn every_host_function_is_paid_by_the_bytes_that_a_guest_names() {
    let before = fuel_of(None).await;
    for (name, arguments, bytes) in CALLS {
        let fuel = fuel_of(Some((name, arguments))).await;
        let paid = fuel.saturating_sub(before);
        let owed = CALL.max(bytes / BYTES_PER_UNIT);
        assert!(
            paid >= owed,
            "{name} {arguments}: {paid} units for {bytes} bytes"
        );
    }
}

#[tokio::test]
async fn calls_on_open_files_are_paid_by_what_they_read_and_write() {
    let root = tempfile::tempdir().expect("a folder");
    let many = root.path().join("many");
    std::fs::create_dir(&many).expect("a folder");
    for name in 0..NAMES {
        std::fs::write(many.join(format!("{name:0200}")), "").expect("a file");
    }
    std::fs::write(root.path().join("f"), vec![b'x'; TEXT as usize]).expect("a file");
    let directories = [
        Directory::new("data", root.path()).expect("a name"),
        Directory::scratch("work", SCRATCH).expect("a name"),
    ];
    let before = fuel_with(None, &directories).await;
    for (name, arguments, owed) in FILE_CALLS {
        let fuel = fuel_with(Some((name, arguments)), &directories).await;
        let paid = fuel.saturating_sub(before);
        assert!(paid >= owed, "{name} {arguments}: {paid} units of {owed}");
    }
}
