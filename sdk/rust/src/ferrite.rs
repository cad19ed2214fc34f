//! The functions that reach the store.
//!
//! Keys and fields can be `&str`, `String`, `&[u8]` and other bytes. Reads return any [`FromValue`]
//! type; writes take any [`Argument`]. If the call succeeds, all its writes take effect together;
//! if it fails, none does.
//!
//! Each of these functions fails with `NOPERM` if the permissions do not cover the key, and with
//! `WRONGTYPE` if the key holds another type of value.

use ferrite_wasm_abi::{Status, set_option};

use crate::argument::{Argument, ArgumentList, Arguments};
use crate::error::Error;
use crate::excerpt::excerpt;
use crate::host;
use crate::host::result_buffer::read;
pub use crate::level::Level;
use crate::value::Value;
use crate::value::decode::decode;
use crate::value::from_value::{FromValue, Mismatch};
pub use ferrite_wasm_sdk_macros::{cron, every, on};

/// Reads a string; `None` if the key does not exist.
///
/// ```
/// # use ferrite_wasm_sdk::*;
/// # let store = mock::Store::new();
/// let visits: i64 = ferrite::get("visits")?.unwrap_or(0);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// Also fails if the string cannot be read as `T`.
pub fn get<T: FromValue>(key: impl AsRef<[u8]>) -> Result<Option<T>, Error> {
    let key = key.as_ref();
    read(|buffer| host::get(key, buffer))
        .map_err(|code| Error::of_status(code, "get", key))?
        .transpose()
        .map_err(|mismatch| unreadable("the value of key", key, &mismatch))
}

/// Reads a value of the function's own configuration, which `CONFIG` of `WASM.LOAD` and `WASM.CONFIG` set;
/// `None` if it has none of this name. Secrets belong there, and not into code.
///
/// ```
/// # use ferrite_wasm_sdk::*;
/// # let store = mock::Store::new();
/// store.configure("token", "s3cret");
/// let token: Option<String> = ferrite::config("token")?;
/// assert_eq!(token.as_deref(), Some("s3cret"));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// The value cannot be read as `T`.
pub fn config<T: FromValue>(name: &str) -> Result<Option<T>, Error> {
    let name = name.as_bytes();
    read(|buffer| host::config(name, buffer))
        .map_err(|code| Error::of_status(code, "config", name))?
        .transpose()
        .map_err(|mismatch| unreadable("the configuration's value", name, &mismatch))
}

/// Writes a string, and removes the key's expiry.
///
/// # Errors
///
/// See the [module](self).
pub fn set(key: impl AsRef<[u8]>, value: impl Argument) -> Result<(), Error> {
    set_with(key, value, SetOptions::new()).map(drop)
}

/// Writes a string on a condition or with an expiry. Returns true if it was written.
///
/// ```
/// # use ferrite_wasm_sdk::*;
/// # use ferrite_wasm_sdk::ferrite::SetOptions;
/// # let store = mock::Store::new();
/// let locked = ferrite::set_with("lock:job", "worker-1", SetOptions::new().if_absent().ttl_secs(30))?;
/// assert!(locked);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// Also fails if the options exclude each other.
pub fn set_with(
    key: impl AsRef<[u8]>,
    value: impl Argument,
    options: SetOptions,
) -> Result<bool, Error> {
    let key = key.as_ref();
    let answer = value.with_bytes(|value| host::set(key, value, options.bits, options.ttl_millis));
    if answer == Status::NotStored.code() {
        return Ok(false);
    }
    checked(answer, "set", key).map(|_| true)
}

/// Conditions and expiry for [`set_with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetOptions {
    bits: i32,
    ttl_millis: i64,
}

impl SetOptions {
    /// Writes always, and without an expiry.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bits: 0,
            ttl_millis: -1,
        }
    }

    /// Writes only if the key does not exist.
    #[must_use]
    pub const fn if_absent(mut self) -> Self {
        self.bits |= set_option::NX;
        self
    }

    /// Writes only if the key exists.
    #[must_use]
    pub const fn if_present(mut self) -> Self {
        self.bits |= set_option::XX;
        self
    }

    /// Keeps the expiry that the key has.
    #[must_use]
    pub const fn keep_ttl(mut self) -> Self {
        self.bits |= set_option::KEEPTTL;
        self
    }

    /// Expires after this many milliseconds.
    #[must_use]
    pub const fn ttl_millis(mut self, millis: i64) -> Self {
        self.ttl_millis = millis;
        self
    }

    /// Expires after this many seconds.
    #[must_use]
    pub const fn ttl_secs(self, secs: i64) -> Self {
        self.ttl_millis(secs.saturating_mul(1000))
    }
}

impl Default for SetOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds one to an integer and returns the sum. A missing key counts as 0.
///
/// # Errors
///
/// Also fails if the string is not an integer, or the sum is out of range.
pub fn incr(key: impl AsRef<[u8]>) -> Result<i64, Error> {
    incr_by(key, 1)
}

/// Adds `delta` to an integer and returns the sum. A missing key counts as 0.
///
/// # Errors
///
/// Also fails if the string is not an integer, or the sum is out of range.
pub fn incr_by(key: impl AsRef<[u8]>, delta: i64) -> Result<i64, Error> {
    let key = key.as_ref();
    host::incr_by(key, delta).map_err(|code| Error::of_status(code.into(), "incr_by", key))
}

/// Lets a key expire after `secs` seconds. Returns true if the key exists.
///
/// Zero or less deletes the key at once.
///
/// # Errors
///
/// See the [module](self).
pub fn expire(key: impl AsRef<[u8]>, secs: i64) -> Result<bool, Error> {
    expire_millis(key, secs.saturating_mul(1000))
}

/// Lets a key expire after `millis` milliseconds. Returns true if the key exists.
///
/// # Errors
///
/// See the [module](self).
pub fn expire_millis(key: impl AsRef<[u8]>, millis: i64) -> Result<bool, Error> {
    let key = key.as_ref();
    checked(host::expire(key, millis), "expire", key).map(|found| found != 0)
}

/// The time until a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Milliseconds until it expires.
    Millis(i64),
    /// It does not expire.
    NoExpiry,
    /// There is no such key.
    NoKey,
}

/// Returns the time until a key expires.
///
/// # Errors
///
/// See the [module](self).
pub fn ttl(key: impl AsRef<[u8]>) -> Result<Ttl, Error> {
    let key = key.as_ref();
    match host::ttl(key) {
        millis @ 0.. => Ok(Ttl::Millis(millis)),
        ferrite_wasm_abi::ttl::NO_EXPIRY => Ok(Ttl::NoExpiry),
        ferrite_wasm_abi::ttl::NO_KEY => Ok(Ttl::NoKey),
        code => Err(Error::of_status(code, "ttl", key)),
    }
}

/// Deletes a key. Returns true if it existed.
///
/// # Errors
///
/// See the [module](self).
pub fn del(key: impl AsRef<[u8]>) -> Result<bool, Error> {
    let key = key.as_ref();
    checked(host::del(&[key]), "del", key).map(|count| count > 0)
}

/// Deletes keys, and returns how many existed.
///
/// # Errors
///
/// See the [module](self).
pub fn del_many<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<usize, Error> {
    many(keys, "del", host::del)
}

/// Returns true if a key exists.
///
/// # Errors
///
/// See the [module](self).
pub fn exists(key: impl AsRef<[u8]>) -> Result<bool, Error> {
    let key = key.as_ref();
    checked(host::exists(&[key]), "exists", key).map(|count| count > 0)
}

/// Counts the keys that exist; a key that is named twice counts twice.
///
/// # Errors
///
/// See the [module](self).
pub fn exists_many<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<usize, Error> {
    many(keys, "exists", host::exists)
}

/// Reads a field of a hash; `None` if the field or the hash does not exist.
///
/// # Errors
///
/// Also fails if the field's value cannot be read as `T`.
pub fn hget<T: FromValue>(
    key: impl AsRef<[u8]>,
    field: impl AsRef<[u8]>,
) -> Result<Option<T>, Error> {
    let (key, field) = (key.as_ref(), field.as_ref());
    read(|buffer| host::hget(key, field, buffer))
        .map_err(|code| Error::of_status(code, "hget", key))?
        .transpose()
        .map_err(|mismatch| unreadable("the value of field", field, &mismatch))
}

/// Writes a field of a hash. Returns true if the field is new.
///
/// # Errors
///
/// See the [module](self).
pub fn hset(
    key: impl AsRef<[u8]>,
    field: impl AsRef<[u8]>,
    value: impl Argument,
) -> Result<bool, Error> {
    let (key, field) = (key.as_ref(), field.as_ref());
    let answer = value.with_bytes(|value| host::hset(key, field, value));
    checked(answer, "hset", key).map(|new| new != 0)
}

/// Deletes a field of a hash. Returns true if it existed.
///
/// # Errors
///
/// See the [module](self).
pub fn hdel(key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Result<bool, Error> {
    let key = key.as_ref();
    checked(host::hdel(key, &[field.as_ref()]), "hdel", key).map(|count| count > 0)
}

/// Deletes fields of a hash, and returns how many existed.
///
/// # Errors
///
/// See the [module](self).
pub fn hdel_many<F: AsRef<[u8]>>(
    key: impl AsRef<[u8]>,
    fields: impl IntoIterator<Item = F>,
) -> Result<usize, Error> {
    let key = key.as_ref();
    many(fields, "hdel", |fields| host::hdel(key, fields))
}

/// Reads a whole hash; an empty one if the key does not exist.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use ferrite_wasm_sdk::*;
/// # let store = mock::Store::new();
/// let user: BTreeMap<String, String> = ferrite::hgetall("user:1")?;
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// Also fails if a field or value cannot be read as `T`.
pub fn hgetall<T: FromValue>(key: impl AsRef<[u8]>) -> Result<T, Error> {
    call("HGETALL", key.as_ref())
}

/// Runs any command and reads its reply as `T`.
///
/// ```
/// # use ferrite_wasm_sdk::*;
/// # let store = mock::Store::new();
/// let added: i64 = ferrite::call("ZADD", ("board", 10.5, "ann"))?;
/// let best: Vec<(String, f64)> = ferrite::call::<Vec<String>>("ZRANGE", ("board", 0, 9, "REV", "WITHSCORES"))
///     .map(|flat| flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].parse().unwrap())).collect())?;
/// # assert_eq!(best, [("ann".to_owned(), 10.5)]);
/// ferrite::call::<()>("ZREM", ("board", "ann"))?;
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// Fails with the command's error reply, or if the reply cannot be read as `T`.
pub fn call<T: FromValue>(command: &str, arguments: impl Arguments) -> Result<T, Error> {
    let mut list = ArgumentList::new();
    arguments.append_to(&mut list);
    let value = reply_of(command, &mut list)?;
    T::from_value(value)
        .map_err(|mismatch| unreadable("the reply of", command.as_bytes(), &mismatch))
}

/// Number of keys that one page of [`scan_keys`] looks at.
const SCAN_PAGE: usize = 500;

/// Goes through the keys that match a pattern, page by page: other calls and commands run in between.
///
/// The keys come in no order, and one that is there all the time comes at least once. A key that comes
/// or goes meanwhile may be missing, and one may come twice. In a cluster these are the keys of the node
/// that runs the call; with `WASM.CALLALL` every node goes through its own.
///
/// ```
/// # use ferrite_wasm_sdk::*;
/// # let store = mock::Store::new();
/// # ferrite::set("user:1", "Ann")?;
/// let mut users = 0;
/// for key in ferrite::scan_keys::<String>("user:*") {
///     users += i64::from(ferrite::exists(key?)?);
/// }
/// assert_eq!(users, 1);
/// # Ok::<(), Error>(())
/// ```
pub fn scan_keys<T: FromValue>(pattern: &str) -> ScanKeys<T> {
    ScanKeys {
        pattern: pattern.into(),
        cursor: Some("0".into()),
        page: alloc::vec::Vec::new().into_iter(),
    }
}

/// The keys that match a pattern; see [`scan_keys`]. After an error it ends.
#[derive(Debug)]
pub struct ScanKeys<T> {
    pattern: alloc::string::String,
    /// The start of the next page; `None` after the last.
    cursor: Option<alloc::string::String>,
    page: alloc::vec::IntoIter<T>,
}

impl<T: FromValue> Iterator for ScanKeys<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let cursor = self.cursor.take()?;
            let words = (&cursor, "MATCH", &self.pattern, "COUNT", SCAN_PAGE);
            let page: Result<(alloc::string::String, alloc::vec::Vec<T>), Error> =
                call("SCAN", words);
            match page {
                Ok((next, page)) => {
                    self.cursor = (next != "0").then_some(next);
                    self.page = page.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Reads one of the replies that `WASM.CALLALL` gives to the entry of `REDUCE` as its arguments.
///
/// A string or a number comes as it is, anything with elements, such as a map, in RESP.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use ferrite_wasm_sdk::*;
/// let count: i64 = ferrite::node_reply(b"7")?;
/// let sums: BTreeMap<String, i64> = ferrite::node_reply(b"*2\r\n$1\r\na\r\n:1\r\n")?;
/// assert_eq!((count, sums["a"]), (7, 1));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// Fails if the reply cannot be read as `T`.
pub fn node_reply<T: FromValue>(argument: impl AsRef<[u8]>) -> Result<T, Error> {
    let bytes = argument.as_ref();
    let decoded = bytes.first().filter(|&&first| first == b'*');
    match decoded.and_then(|_| decode(bytes)) {
        Some(value) => T::from_value(value),
        None => T::from_bytes(bytes),
    }
    .map_err(|mismatch| unreadable("the reply of a node", excerpt_start(bytes), &mismatch))
}

/// The part of a node's reply that an error shows.
fn excerpt_start(bytes: &[u8]) -> &[u8] {
    bytes.get(..64).unwrap_or(bytes)
}

/// A reply as the host encodes it.
struct Encoded(Value);

impl FromValue for Encoded {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        decode(bytes)
            .map(Self)
            .ok_or_else(|| Mismatch::new("one RESP reply", bytes))
    }
}

fn reply_of(command: &str, list: &mut ArgumentList) -> Result<Value, Error> {
    let name = command.as_bytes();
    let arguments = list.finish();
    let reply = read::<Encoded>(|buffer| host::call(name, arguments, buffer))
        .map_err(|code| Error::of_status(code, "call", name))?;
    match reply {
        Some(Ok(Encoded(Value::Error(text)))) => Err(Error::of_reply(text)),
        Some(Ok(Encoded(value))) => Ok(value),
        _ => Err(Error::of_status(Status::Store.code().into(), "call", name)),
    }
}

/// Writes a line to the server's log.
pub fn log(level: Level, text: impl AsRef<str>) {
    host::log(level as i32, text.as_ref().as_bytes());
}

/// Milliseconds since 1970, the same throughout a call.
#[must_use]
pub fn time_millis() -> i64 {
    host::time_millis()
}

/// Fills a buffer with random bytes.
pub fn random(buffer: &mut [u8]) {
    host::random(buffer);
}

/// Returns a random number.
#[must_use]
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Returns the count that a host function answered, or the error for its status.
fn checked(answer: i32, operation: &'static str, subject: &[u8]) -> Result<usize, Error> {
    usize::try_from(answer).map_err(|_| Error::of_status(answer.into(), operation, subject))
}

fn many<K: AsRef<[u8]>>(
    keys: impl IntoIterator<Item = K>,
    operation: &'static str,
    run: impl FnOnce(&[&[u8]]) -> i32,
) -> Result<usize, Error> {
    let keys: alloc::vec::Vec<K> = keys.into_iter().collect();
    let keys: alloc::vec::Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
    let subject = keys.first().copied().unwrap_or_default();
    checked(run(&keys), operation, subject)
}

/// Makes the error for a value that cannot be read as the type that was asked for.
#[cold]
fn unreadable(what: &str, subject: &[u8], mismatch: &Mismatch) -> Error {
    Error::of_reply(mismatch.describe(&["ERR ", what, " ", &excerpt(subject)]))
}
