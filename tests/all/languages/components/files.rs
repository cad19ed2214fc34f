//! Files of a component in Rust, by `std::fs` and by `wasi:filesystem` itself: the same rules as for WASI preview 1.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use ferrite_tests::{Client, Reply, Server, command};

const PERMISSIONS: &str = r#"{"allow_filesystem": ["tables", "tmp", "cache"]}"#;

/// A directory of tables, with links that stay inside and that lead out, and one that no function may have.
fn folders() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let tables = folder.path().join("tables");
    fs::create_dir_all(tables.join("names")).expect("it can be made");
    for (path, content) in [
        ("tables/digits", "0123456789"),
        ("tables/countries", "at Austria\nch Switzerland\n"),
        ("tables/names/plain", ""),
        ("secret", "s3cret"),
    ] {
        fs::write(folder.path().join(path), content).expect("it can be written");
    }
    let odd = tables.join("names").join(OsStr::from_bytes(b"odd\xff"));
    fs::write(odd, "").expect("it can be written");
    symlink("digits", tables.join("in")).expect("it can be made");
    symlink("../secret", tables.join("out")).expect("it can be made");
    symlink("loop", tables.join("loop")).expect("it can be made");
    folder
}

fn server(folder: &Path) -> Server {
    let tables = folder.join("tables");
    let secret = folder.join("secret-directory");
    fs::create_dir(&secret).expect("it can be made");
    fs::write(secret.join("x"), "s3cret").expect("it can be written");
    let config = format!(
        "[wasm.security]\n\
         allow_filesystem = [\"tables={}\", \"tmp:scratch=64KB\", \"cache:kept=64KB\", \"secret={}\"]\n",
        tables.display(),
        secret.display(),
    );
    Server::builder().config(&config).start()
}

fn load(client: &mut Client, isolation: &str, permissions: &str) -> Reply {
    let component = super::standard::component();
    let words: [&[u8]; 8] = [
        b"WASM.LOAD",
        b"std",
        &component,
        b"PERMISSIONS",
        permissions.as_bytes(),
        b"ISOLATION",
        isolation.as_bytes(),
        b"REPLACE",
    ];
    client.call(&words)
}

fn files(client: &mut Client, args: &[&str]) -> Vec<String> {
    let reply = client.call(&[&["WASM.CALL", "std.files", "ARGS"], args].concat());
    let items = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
    let texts = items.iter().map(|item| item.text().expect("text"));
    texts.map(short).collect()
}

/// Replaces the error code in a text by its name.
fn short(text: &str) -> String {
    let parts = || {
        let (before, code) = text.split_once("ErrorCode { code: ")?;
        let (_, named) = code.split_once("name: \"")?;
        let (name, message) = named.split_once('"')?;
        let (_, after) = message.split_once("\" }")?;
        Some(format!("{before}{name}{after}"))
    };
    parts().unwrap_or_else(|| text.to_owned())
}

#[test]
fn a_program_reads_and_writes_as_anywhere() {
    let folder = folders();
    let server = server(folder.path());
    let mut client = server.client();
    for isolation in ["rewind", "fresh", "reuse"] {
        let loaded = load(&mut client, isolation, PERMISSIONS);
        assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
        for _ in 0..2 {
            let mut seen = |args: &[&str]| files(&mut client, args);
            for (key, expected) in [("ch", "Switzerland"), ("xx", "none")] {
                assert_eq!(seen(&["lookup", "/tables/countries", key]), [expected]);
            }
            assert_eq!(
                seen(&["list", "/tables"]),
                [
                    "countries 26",
                    "digits 10",
                    "in@",
                    "loop@",
                    "names/",
                    "out@"
                ]
            );
            assert_eq!(seen(&["read", "/tables/in"]), ["0123456789"]);
            assert_eq!(seen(&["read", "/tables/names/../digits"]), ["0123456789"]);
            assert_eq!(
                seen(&["scratch"]),
                [
                    "error AlreadyExists",
                    "9;end",
                    "3 true",
                    "error NotADirectory",
                    "error IsADirectory",
                    "0;!;2;3",
                    "Some(0)",
                    "c 9",
                    "false"
                ]
            );
            // The library of Rust's target does not ask for the reason of a stream's error.
            assert_eq!(seen(&["fill", "/tmp/x"]), ["error Uncategorized", "true"]);
            assert_eq!(
                seen(&["many", "/tables/digits"]),
                ["true", "error OutOfMemory", "open"]
            );
            for (args, expected) in [
                (&["read", "/tables/out"][..], "error PermissionDenied"),
                (&["read", "/tables/../secret"], "error PermissionDenied"),
                (&["read", "/etc/passwd"], "error NotFound"),
                (&["read", "/secret/x"], "error NotFound"),
                (&["read", "digits"], "error NotFound"),
                (
                    &["write", "/tables/digits", "x"],
                    "error ReadOnlyFilesystem",
                ),
                (&["write", "/tables/new", "x"], "error ReadOnlyFilesystem"),
                (&["write", "/tmp/new", "x"], "written"),
                (&["write", "/new", "x"], "error NotFound"),
            ] {
                assert_eq!(seen(args), [expected], "{args:?}");
            }
        }
    }
    let digits = fs::read_to_string(folder.path().join("tables/digits"));
    assert_eq!(digits.expect("it is there"), "0123456789");
}

/// A directory that stays, through the streams of a component.
#[test]
fn files_that_stay_are_those_of_the_function() {
    let folder = folders();
    let server = server(folder.path());
    let mut client = server.client();
    load(&mut client, "rewind", PERMISSIONS);
    for expected in ["a", "aa"] {
        assert_eq!(files(&mut client, &["append", "/cache/f", "a"]), [expected]);
    }
    let read_only = client.run("WASM.CALL_RO std.files ARGS append /cache/f a");
    let text = read_only.elements().and_then(|all| all[0].text());
    assert_eq!(text, Some("error ReadOnlyFilesystem"));
    assert_eq!(files(&mut client, &["read", "/cache/f"]), ["aa"]);
}

#[test]
fn a_function_has_only_what_it_asks_for_and_is_offered() {
    let folder = folders();
    let server = server(folder.path());
    let mut client = server.client();
    for (permissions, expected) in [
        ("{}", &[][..]),
        (
            r#"{"allow_filesystem": ["tmp", "tables"]}"#,
            &[
                "/tables Ok(DescriptorFlags(READ))",
                "/tmp Ok(DescriptorFlags(READ | MUTATE_DIRECTORY))",
            ],
        ),
    ] {
        load(&mut client, "rewind", permissions);
        let mut found = files(&mut client, &["directories"]);
        found.sort();
        assert_eq!(found, expected);
    }
    let refused = load(&mut client, "rewind", r#"{"allow_filesystem": ["other"]}"#);
    let error = refused.error().expect("it is not offered");
    assert!(
        error.starts_with("NOPERM allow_filesystem has \"other\""),
        "{error}"
    );
}

#[test]
fn descriptors_streams_and_errors_are_those_of_the_interface() {
    let folder = folders();
    let server = server(folder.path());
    let mut client = server.client();
    load(&mut client, "rewind", PERMISSIONS);
    let failed = |text: &str| format!("{text} true");
    for (what, expected) in [
        (
            "reading",
            &[
                r#"("0123", false)"#,
                r#"("3456", false)"#,
                r#"("89", true)"#,
                r#"("", true)"#,
                "invalid",
                r#"("", false)"#,
                "234",
                "2",
                "",
                "789",
                "closed",
                "closed",
            ][..],
        ),
        (
            "writing",
            &[
                "10",
                r#""0123456789""#,
                "1",
                r#""0123456789\0\0x""#,
                "()",
                "65536",
                r#""0a0a1a2e1e2""#,
                "4",
                "6",
                "closed",
                r#""0a0a1a24567890123""#,
                "()",
                "()",
                "insufficient-space",
                &failed("insufficient-space Some(insufficient-space)"),
                "true",
                r#""0a""#,
                "no-entry",
            ],
        ),
        (
            "facts",
            &[
                "DescriptorType::RegularFile 10 1 true",
                "true",
                "DescriptorType::RegularFile",
                "DescriptorFlags(READ)",
                "DescriptorType::Directory",
                "DescriptorFlags(READ | WRITE)",
                "true",
                "true false false true",
                "true true false false",
                "false",
            ],
        ),
        (
            "listing",
            &[
                "true",
                r#"Some("zz")"#,
                "Ok(true)",
                "DescriptorType::RegularFile",
                "DescriptorType::Directory",
                "not-directory",
                "illegal-byte-sequence",
                "plain",
            ],
        ),
        (
            "refused",
            &[
                "../secret: not-permitted",
                "/etc/passwd: not-permitted",
                "out: not-permitted",
                "loop: loop",
                "none: no-entry",
                ": no-entry",
                "a\0b: invalid",
                "digits/x: not-directory",
                "in: ()",
                "create: read-only",
                "open to write: read-only",
                "unlink: read-only",
                "mkdir: read-only",
                "rmdir: read-only",
                "rename: read-only",
                "between: cross-device",
                "write: bad-descriptor",
                "set size: read-only",
                "stream: bad-descriptor",
                "append: bad-descriptor",
                "only read: bad-descriptor",
                "directory: is-directory",
                "read it: bad-descriptor",
                "stat: no-entry",
                "exclusive: exist",
                "as directory: not-directory",
                "long: name-too-long",
                "longer: name-too-long",
                "link: bad-descriptor",
                "symlink: bad-descriptor",
                "readlink: bad-descriptor",
                "advise: bad-descriptor",
                "times: bad-descriptor",
                "times at: bad-descriptor",
            ],
        ),
    ] {
        for _ in 0..2 {
            let mut found = files(&mut client, &[what]);
            if what == "listing" {
                // The names on disk come in the order of their bytes.
                found[6..].sort();
            }
            assert_eq!(found, expected, "{what}");
        }
    }
}

#[test]
fn the_command_line_offers_directories_and_tells_what_may_be_needed() {
    let folder = folders();
    let file = folder.path().join("standard.wasm");
    fs::write(&file, super::standard::component()).expect("it can be written");
    let tables = format!("tables={}", folder.path().join("tables").display());
    let run = |args: &[&str]| {
        let mut run = command("ferrite-wasmc", "FERRITE_WASMC_BIN");
        run.arg("run").arg(format!("{}:files", file.display()));
        for arg in args {
            run.args(["--arg", arg]);
        }
        run.args(["--dir", &tables, "--dir", "tmp:scratch=64KB"])
            .current_dir(folder.path());
        let output = run.output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let found = run(&["lookup", "/tables/countries", "at"]);
    assert!(found.contains("Austria"), "{found}");
    let found = run(&["write", "/tables/countries", "x"]);
    assert!(found.contains("ReadOnlyFilesystem"), "{found}");
    let output = command("ferrite-wasmc", "FERRITE_WASMC_BIN")
        .arg("inspect")
        .arg(&file)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("WASI, without sockets") && text.contains("path_open"),
        "{text}"
    );
    assert!(text.contains("allow_filesystem"), "{text}");
    let without = "../compiler/tests/accepted/component.wat";
    let output = command("ferrite-wasmc", "FERRITE_WASMC_BIN")
        .arg("diff")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(without))
        .arg(&file)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = "wider   import: wasi_snapshot_preview1.path_open is new";
    assert!(text.contains(expected), "{output:?}");
}
