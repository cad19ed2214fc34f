//! A store in memory, for tests of functions on the host.
//!
//! ```
//! use ferrite_wasm_sdk::*;
//!
//! #[ferrite_function]
//! pub fn greet(key: &str) -> Result<String, Error> {
//!     let name: Option<String> = ferrite::hget(key, "name")?;
//!     Ok(format!("hello, {}", name.as_deref().unwrap_or("stranger")))
//! }
//!
//! let store = mock::Store::new();
//! store.command(&["HSET", "user:1", "name", "Ann"]);
//!
//! // As a Rust function …
//! assert_eq!(greet("user:1"), Ok("hello, Ann".to_owned()));
//! // … and as callers see it.
//! assert_eq!(store.call(entry!(greet), ["user:1"], [""; 0]), Value::from("hello, Ann"));
//! assert_eq!(
//!     store.call(entry!(greet), [""; 0], [""; 0]),
//!     Value::Error("ERR greet(key: &str): no value for 'key' (&str); got 0 keys and 0 arguments".into()),
//! );
//! ```
//!
//! It knows the usual commands on strings, hashes, lists, sets and sorted sets, has a clock that
//! stands still until [`Store::advance_millis`] moves it, and random bytes that are the same in
//! every run. It knows no permissions and no limits: `ferrite-wasmc run` has those.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::host::in_memory::{self, SharedState};
use crate::input::Entry;
use crate::level::Level;
use crate::value::Value;

/// A store in memory that the functions of this thread use until it is dropped.
///
/// A store made while another one lives takes its place until the new one is dropped.
pub struct Store {
    state: SharedState,
}

impl Store {
    /// Makes an empty store whose clock shows 1,700,000,000,000 milliseconds.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "making one changes what the thread's functions see, which `default` would hide"
    )]
    pub fn new() -> Self {
        Self {
            state: in_memory::add(),
        }
    }

    /// Calls a function as a client would: with keys and arguments, for a reply.
    ///
    /// # Panics
    ///
    /// Panics if the function panics, or replies more or less than once.
    pub fn call<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &self,
        entry: &'static Entry,
        keys: impl IntoIterator<Item = K>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Value {
        let keys = keys.into_iter().map(|it| it.as_ref().to_owned()).collect();
        let arguments = arguments
            .into_iter()
            .map(|it| it.as_ref().to_owned())
            .collect();
        self.state.borrow_mut().begin_call(keys, arguments);
        crate::input::entry::run(entry);
        let reply = self.state.borrow_mut().take_reply();
        match reply {
            Ok(value) => value,
            Err(problem) => panic!("{} {problem}", entry.name),
        }
    }

    /// Runs a command, to prepare or check data. Errors are returned as [`Value::Error`].
    pub fn command<A: AsRef<[u8]>>(&self, argv: &[A]) -> Value {
        let argv: Vec<&[u8]> = argv.iter().map(AsRef::as_ref).collect();
        self.state.borrow_mut().execute(&argv)
    }

    /// Writes a string.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.command(&[b"SET", key.as_ref(), value.as_ref()]);
    }

    /// Reads a string; `None` if the key does not exist.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        match self.command(&[b"GET", key.as_ref()]) {
            Value::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Moves the clock forward; keys whose time to live has passed are gone.
    pub fn advance_millis(&self, millis: i64) {
        self.state.borrow_mut().advance_millis(millis);
    }

    /// Answers every request with this method and URL from now on. Requests without an answer fail.
    pub fn respond(&self, method: &str, url: &str, status: u16, body: impl Into<Vec<u8>>) {
        let requests = &mut self.state.borrow_mut().requests;
        requests.prepare(method, url, status, body.into());
    }

    /// Returns method, URL and body of the requests that functions have made, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<(String, String, Vec<u8>)> {
        self.state.borrow().requests.made().to_vec()
    }

    /// Returns method, URL and body of the requests that functions have added to their calls by
    /// [`http::Request::after_commit`](crate::http::Request::after_commit), oldest first. The mock sends
    /// none.
    #[must_use]
    pub fn after_commit(&self) -> Vec<(String, String, Vec<u8>)> {
        self.state.borrow().requests.added().to_vec()
    }

    /// Sets a value of the functions' configuration, which
    /// [`ferrite::config`](crate::ferrite::config) reads.
    pub fn configure(&self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref().to_owned();
        self.state
            .borrow_mut()
            .config
            .push((name.to_owned(), value));
    }

    /// Returns the lines that functions have logged, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<(Level, String)> {
        self.state.borrow().log().to_vec()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        in_memory::remove(&self.state);
    }
}
