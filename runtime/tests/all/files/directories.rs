//! Directories that a function may read, and everything that must not lead out of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::support::{Host, TestFunction};

/// `read PATH` opens a path beneath the first directory and replies with the bytes, or with the error
/// number; `list PATH` replies with the bytes of the listing, `stat PATH` with type and size. `open`
/// opens the path as often as it can, `last` reads the descriptor that is its argument.
const GUEST: &str = r#"(module
    (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
    (import "ferrite" "reply_int" (func $reply_int (param i64)))
    (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
    (import "ferrite" "reply_array" (func $reply_array (param i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread"
        (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_tell" (func $fd_tell (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir"
        (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
        (func $prestat_name (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get"
        (func $path_stat (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 3)
    ;; 0: descriptor; 8: a vector of 60,000 bytes at 65536; 16: count; 24: position; 64: stat;
    ;; 1024: path
    (data (i32.const 8) "\00\00\01\00\60\ea\00\00")
    (func $open_with (param $flags i32) (param $rights i64) (result i32)
        (call $path_open (i32.const 3) (i32.const 1)
            (i32.const 1024) (call $arg (i32.const 0) (i32.const 1024) (i32.const 60000))
            (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 0)))
    (func $done (param $errno i32) (result i32)
        (if (local.get $errno) (then (call $reply_int (i64.extend_i32_u (local.get $errno)))))
        (local.get $errno))
    (func (export "read")
        (if (call $done (call $open_with (i32.const 0) (i64.const 2))) (then (return)))
        (if (call $done (call $fd_read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
            (then (return)))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 16))))
    (func (export "middle")
        (drop (call $open_with (i32.const 0) (i64.const 2)))
        (drop (call $fd_seek (i32.load (i32.const 0)) (i64.const -3) (i32.const 2) (i32.const 24)))
        (drop (call $fd_read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
        (call $reply_array (i32.const 4))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 16)))
        (drop (call $fd_tell (i32.load (i32.const 0)) (i32.const 24)))
        (call $reply_int (i64.load (i32.const 24)))
        (drop (call $fd_pread (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i64.const 1) (i32.const 16)))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 16)))
        (call $reply_int (i64.extend_i32_u
            (call $fd_seek (i32.load (i32.const 0)) (i64.const -9) (i32.const 0) (i32.const 24)))))
    (func (export "write")
        (drop (call $done (call $open_with (i32.const 0) (i64.const 66)))))
    (func (export "create")
        (drop (call $done (call $open_with (i32.const 1) (i64.const 2)))))
    (func (export "list")
        (if (call $done (call $open_with (i32.const 2) (i64.const 0))) (then (return)))
        (if (call $done (call $fd_readdir (i32.load (i32.const 0))
                (i32.const 65536) (i32.const 60000) (i64.const 0) (i32.const 16)))
            (then (return)))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 16))))
    (func (export "stat")
        (if (call $done (call $path_stat (i32.const 3) (i32.const 0)
                (i32.const 1024) (call $arg (i32.const 0) (i32.const 1024) (i32.const 60000)) (i32.const 64)))
            (then (return)))
        (call $reply_array (i32.const 2))
        (call $reply_int (i64.load8_u (i32.const 80)))
        (call $reply_int (i64.load (i32.const 96))))
    (func (export "open") (local $count i64) (local $errno i32)
        (loop $again
            (local.set $errno (call $open_with (i32.const 0) (i64.const 2)))
            (if (i32.eqz (local.get $errno))
                (then
                    (local.set $count (i64.add (local.get $count) (i64.const 1)))
                    (br $again))))
        (call $reply_array (i32.const 2))
        (call $reply_int (local.get $count))
        (call $reply_int (i64.extend_i32_u (local.get $errno))))
    (func (export "last") (param $fd i32) (result i32)
        (call $fd_read (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 16)))
    (func (export "close") (param $fd i32) (result i32) (call $fd_close (local.get $fd)))
    (func (export "has") (param $fd i32) (result i32) (call $prestat (local.get $fd) (i32.const 0)))
    (func (export "name")
        (drop (call $prestat (i32.const 3) (i32.const 0)))
        (drop (call $prestat_name (i32.const 3) (i32.const 65536) (i32.load (i32.const 4))))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 4)))))"#;

const NOENT: &str = ":44";
const NOTCAPABLE: &str = ":76";

struct Files {
    host: Host,
    function: TestFunction,
    root: tempfile::TempDir,
}

impl Files {
    /// A function that may read the directory `data`, which `fill` fills; `secret` lies beside it.
    fn new(fill: impl FnOnce(&Path)) -> Self {
        Self::with_isolation(Isolation::Rewind, fill)
    }

    fn with_isolation(isolation: Isolation, fill: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let data = root.path().join("data");
        fs::create_dir(&data).expect("a folder");
        fs::write(root.path().join("secret"), "secret").expect("a file");
        fs::write(data.join("table"), "one two").expect("a file");
        fill(&data);
        let directories = vec![Directory::new("data", &data).expect("a name")];
        let host = Host::with_runtime(RuntimeOptions {
            directories: directories.clone(),
            ..RuntimeOptions::default()
        });
        let function = host.load_with(GUEST, |spec| {
            spec.directories = directories.into();
            spec.isolation = isolation;
            spec.limits.fuel_max = 1_000_000_000;
        });
        Self {
            host,
            function,
            root,
        }
    }

    async fn call(&self, entry: &str, arg: &str) -> String {
        let name = format!("test.{entry}");
        let args = [arg.as_bytes()];
        let request = ferrite_runtime::CallRequest::new(name.as_bytes(), &[], &args);
        let protocol = ferrite_protocol::resp::Protocol::Resp2;
        self.host
            .request(protocol, &self.function, &request)
            .await
            .0
    }
}

#[tokio::test]
async fn files_are_read_listed_and_described() {
    let files = Files::new(|data| {
        fs::create_dir(data.join("below")).expect("a folder");
        fs::write(data.join("below/deep"), vec![b'x'; 40_000]).expect("a file");
        symlink("below/deep", data.join("link")).expect("a link");
    });
    assert_eq!(files.call("name", "").await, "$5 /data");
    assert_eq!(files.call("has", "3").await, ":0");
    assert_eq!(files.call("has", "4").await, ":8");
    assert_eq!(files.call("read", "table").await, "$7 one two");
    assert_eq!(files.call("read", "below/../table").await, "$7 one two");
    assert_eq!(
        files.call("middle", "table").await,
        "*4 $3 two :7 $6 ne two :28"
    );
    for path in ["below/deep", "link"] {
        let reply = files.call("read", path).await;
        assert!(reply.starts_with("$40000 xxx"), "{path}");
    }
    assert_eq!(files.call("stat", "table").await, "*2 :4 :7");
    assert!(files.call("stat", "below").await.starts_with("*2 :3 :"));
    assert_eq!(files.call("stat", "link").await, "*2 :7 :10");
    let listing = files.call("list", ".").await;
    let at = |name: &str| listing.find(name).expect(name);
    assert!(
        at("below") < at("link") && at("link") < at("table"),
        "{listing}"
    );
    assert_eq!(files.call("list", "table").await, ":54");
    assert_eq!(files.call("read", "below").await, ":31");
    assert_eq!(files.call("read", "missing").await, NOENT);
}

#[tokio::test]
async fn no_path_leads_out() {
    let files = Files::new(|data| {
        symlink("../secret", data.join("relative")).expect("a link");
        symlink(data.join("../secret"), data.join("absolute")).expect("a link");
        symlink("..", data.join("parent")).expect("a link");
        symlink("/", data.join("root")).expect("a link");
        symlink("/proc/self/root", data.join("magic")).expect("a link");
        symlink("loop", data.join("loop")).expect("a link");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            data.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .expect("a pipe");
    });
    for path in [
        "../secret",
        "/etc/passwd",
        "/",
        "..",
        "./../secret",
        "table/../../secret",
        "relative",
        "absolute",
        "parent/secret",
        "parent",
        "root/etc/passwd",
        "magic/etc/passwd",
        "loop",
        "pipe",
        "table\0/../../secret",
        "",
        &"a".repeat(300),
        &"a/".repeat(2100),
    ] {
        for entry in ["read", "list"] {
            let reply = files.call(entry, path).await;
            let refused = reply
                .strip_prefix(':')
                .and_then(|errno| errno.parse::<u32>().ok());
            assert!(
                refused.is_some_and(|errno| errno > 0),
                "{entry} {path}: {reply}"
            );
        }
    }
    assert_eq!(files.call("read", "../secret").await, NOTCAPABLE);
    assert_eq!(files.call("read", "absolute").await, NOTCAPABLE);
    assert_eq!(files.call("stat", "parent/secret").await, NOTCAPABLE);
}

#[test]
fn a_rename_meanwhile_leads_nowhere_else() {
    let files = Files::new(|data| {
        fs::create_dir(data.join("inside")).expect("a folder");
        fs::write(data.join("inside/secret"), "public").expect("a file");
        symlink("..", data.join("outside")).expect("a link");
    });
    let data = files.root.path().join("data");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // `way` is now a folder and now a link that leads out.
            let (way, inside, outside) =
                (data.join("way"), data.join("inside"), data.join("outside"));
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&inside, &way).expect("a rename");
                fs::rename(&way, &inside).expect("a rename");
                fs::rename(&outside, &way).expect("a rename");
                fs::rename(&way, &outside).expect("a rename");
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let (mut public, mut leaked) = (0, false);
        for _ in 0..20_000 {
            let reply = runtime.block_on(files.call("read", "way/secret"));
            if reply == "$6 secret" {
                leaked = true;
                break;
            }
            public += u32::from(reply == "$6 public");
            if public > 50 {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(!leaked, "the file beside the directory was read");
        assert!(public > 0, "the race was never won");
    });
}

#[tokio::test]
async fn nothing_is_written() {
    let files = Files::new(|_| ());
    assert_eq!(files.call("write", "table").await, ":69");
    assert_eq!(files.call("create", "new").await, ":69");
    assert!(!files.root.path().join("data/new").exists());
}

#[tokio::test]
async fn descriptors_are_bounded_and_end_with_their_call() {
    for isolation in [Isolation::Rewind, Isolation::Fresh, Isolation::Reuse] {
        let files = Files::with_isolation(isolation, |_| ());
        assert_eq!(files.call("open", "table").await, "*2 :64 :33");
        // The next call, perhaps on the same instance, has none of them.
        assert_eq!(files.call("last", "4").await, ":8");
        assert_eq!(files.call("open", "table").await, "*2 :64 :33");
        for fd in ["4", "68", "-1", "2147483647"] {
            assert_eq!(files.call("close", fd).await, ":8", "{fd}");
        }
    }
}

#[tokio::test]
async fn a_function_without_directories_has_no_files() {
    let host = Host::new();
    let function = host.load(GUEST);
    let request = ferrite_runtime::CallRequest::new(b"test.read", &[], &[b"table"]);
    let protocol = ferrite_protocol::resp::Protocol::Resp2;
    assert_eq!(host.request(protocol, &function, &request).await.0, ":8");
}
