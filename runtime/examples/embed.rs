//! Embeds the runtime in a data store that is one `HashMap` of strings.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use ferrite_cache::{Cache, CacheOptions, Profile};
use ferrite_compiler::{Compiler, SourceLimits};
use ferrite_runtime::keyspace::{self, Keyspace, Mode, SetCondition, SetExpiry};
use ferrite_runtime::keyspace::{CommitError, StoreError};
use ferrite_runtime::resp::{Encoder, Protocol};
use ferrite_runtime::{CallRequest, FunctionName, LoadRequest, Permissions};
use ferrite_runtime::{Runtime, RuntimeOptions, Source};
use tokio::sync::{Mutex, OwnedMutexGuard};

type Data = HashMap<Vec<u8>, Vec<u8>>;

/// The data store. The transaction that holds the lock is the only one.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Data>>);

/// One call's view of the store: a copy that replaces the original at the commit. A transaction that
/// did not get the lock is lost from the start, and its call runs again.
struct Transaction {
    lock: Option<OwnedMutexGuard<Data>>,
    copy: Data,
}

impl Transaction {
    fn new(lock: Option<OwnedMutexGuard<Data>>) -> Self {
        let copy = lock.as_deref().cloned().unwrap_or_default();
        Self { lock, copy }
    }
}

impl Keyspace for Store {
    type Transaction = Transaction;

    fn begin(&self, _database: u32, _mode: Mode) -> Transaction {
        Transaction::new(Arc::clone(&self.0).try_lock_owned().ok())
    }

    async fn begin_exclusive(&self, _database: u32, _mode: Mode) -> Transaction {
        Transaction::new(Some(Arc::clone(&self.0).lock_owned().await))
    }

    fn is_command(&self, name: &[u8]) -> bool {
        [&b"GET"[..], b"SET", b"DEL", b"EXISTS", b"INCRBY"].contains(&name)
    }
}

impl keyspace::Transaction for Transaction {
    type Receipt = ();

    fn now_millis(&mut self) -> i64 {
        0
    }

    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        Ok(self.copy.get(key).map(|value| read(value)))
    }

    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        _expiry: SetExpiry,
    ) -> Result<bool, StoreError> {
        let wanted = match condition {
            SetCondition::Always => true,
            SetCondition::IfAbsent => !self.copy.contains_key(key),
            SetCondition::IfPresent => self.copy.contains_key(key),
        };
        if wanted {
            self.copy.insert(key.into(), value.into());
        }
        Ok(wanted)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.copy.remove(key).is_some())
    }

    fn is_lost(&self) -> bool {
        self.lock.is_none()
    }

    fn commit(self) -> Result<(), CommitError> {
        let mut data = self.lock.ok_or(CommitError::Conflict)?;
        *data = self.copy;
        Ok(())
    }
}

/// Adds the first argument's length to the number at the first key, and replies the sum.
const FUNCTION: &str = r#"(module
    (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
    (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
    (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
    (import "ferrite" "reply_int" (func $reply_int (param i64)))
    (memory (export "memory") 1)
    (func (export "run")
        (drop (call $incr_by
            (i32.const 0) (call $key (i32.const 0) (i32.const 0) (i32.const 64))
            (i64.extend_i32_u (call $arg (i32.const 0) (i32.const 64) (i32.const 0)))
            (i32.const 128)))
        (call $reply_int (i64.load (i32.const 128)))))"#;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let cache = Cache::open(CacheOptions {
        root: folder.path().join("cache"),
        size_bytes_max: 1 << 30,
    })?;

    // Compile ahead of time, on this or on another machine.
    let compiler = Compiler::new(&Profile::native(), SourceLimits::default())?;
    let compiled = compiler.compile(FUNCTION.as_bytes())?;
    cache.publish_with_source(&compiled.wasm, &compiled.manifest, compiled.code())?;

    // Load by digest and call: nothing is compiled here.
    let store = Store::default();
    let runtime = Runtime::new(RuntimeOptions::default(), store.clone(), Some(cache))?;
    runtime.load(LoadRequest {
        permissions: Permissions::named("read-write"),
        ..LoadRequest::new(
            FunctionName::parse(b"add_length")?,
            Source::Cached(compiled.manifest.source),
        )
    })?;
    let threads = tokio::runtime::Builder::new_current_thread().build()?;
    for expected in [":5\r\n", ":10\r\n"] {
        let mut reply = Encoder::new(Protocol::Resp3);
        let request = CallRequest::new(b"add_length", &[b"total"], &[b"hello"]);
        let outcome = threads.block_on(runtime.call(&request, &mut reply));
        assert!(outcome.error.is_none());
        assert_eq!(String::from_utf8_lossy(reply.bytes()), expected);
    }
    assert_eq!(store.0.blocking_lock()[&b"total"[..]], b"10");
    Ok(())
}
