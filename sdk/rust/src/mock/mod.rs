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

mod commands;
mod glob;
pub(crate) mod host;
mod keyspace;
mod replies;

use alloc::borrow::ToOwned;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use keyspace::Keyspace;
use replies::Replies;

use crate::ferrite::Level;
use crate::input::Entry;
use crate::value::Value;

std::thread_local! {
    /// The store that functions on this thread reach.
    static CURRENT: RefCell<Vec<Rc<RefCell<State>>>> = const { RefCell::new(Vec::new()) };
}

/// What a store consists of, and the call that runs on it.
struct State {
    keyspace: Keyspace,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
    replies: Replies,
    /// The last result that was longer than its buffer, for `take`.
    long_result: Vec<u8>,
    log: Vec<(Level, String)>,
    random: u64,
}

/// A store in memory that the functions of this thread use until it is dropped.
///
/// A store made while another one lives takes its place until the new one is dropped.
pub struct Store {
    state: Rc<RefCell<State>>,
}

impl Store {
    /// Makes an empty store whose clock shows 1,700,000,000,000 milliseconds.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "making one changes what the thread's functions see, which `default` would hide"
    )]
    pub fn new() -> Self {
        let state = Rc::new(RefCell::new(State {
            keyspace: Keyspace::new(1_700_000_000_000),
            keys: Vec::new(),
            arguments: Vec::new(),
            replies: Replies::default(),
            long_result: Vec::new(),
            log: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
        }));
        CURRENT.with_borrow_mut(|stores| stores.push(Rc::clone(&state)));
        Self { state }
    }

    /// Calls a function as a client would: with keys and arguments, for a reply.
    ///
    /// # Panics
    ///
    /// Where the function panics or gives more or less than one reply.
    pub fn call<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &self,
        entry: &'static Entry,
        keys: impl IntoIterator<Item = K>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Value {
        {
            let mut state = self.state.borrow_mut();
            state.keys = keys.into_iter().map(|it| it.as_ref().to_owned()).collect();
            state.arguments = arguments
                .into_iter()
                .map(|it| it.as_ref().to_owned())
                .collect();
            state.replies = Replies::default();
        }
        crate::input::entry::run(entry);
        let replies = core::mem::take(&mut self.state.borrow_mut().replies);
        match replies.finish() {
            Ok(value) => value,
            Err(problem) => panic!("{} {problem}", entry.name),
        }
    }

    /// Runs a command, to prepare data or to look at it. Errors come as [`Value::Error`].
    pub fn command<A: AsRef<[u8]>>(&self, argv: &[A]) -> Value {
        let argv: Vec<&[u8]> = argv.iter().map(AsRef::as_ref).collect();
        commands::execute(&mut self.state.borrow_mut().keyspace, &argv)
    }

    /// Writes a string.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.command(&[b"SET", key.as_ref(), value.as_ref()]);
    }

    /// Reads a string; `None` where there is none.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        match self.command(&[b"GET", key.as_ref()]) {
            Value::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Moves the clock; keys whose time has come are gone.
    pub fn advance_millis(&self, millis: i64) {
        self.state.borrow_mut().keyspace.advance_millis(millis);
    }

    /// What has been logged, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<(Level, String)> {
        self.state.borrow().log.clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|stores| {
            stores.retain(|state| !Rc::ptr_eq(state, &self.state));
        });
    }
}

/// Hands the thread's store to `run`.
fn with_state<R>(run: impl FnOnce(&mut State) -> R) -> R {
    let state = CURRENT.with_borrow(|stores| stores.last().cloned());
    match state {
        Some(state) => run(&mut state.borrow_mut()),
        None => panic!(
            "no store on this thread: start the test with `let store = crate::mock::Store::new();`"
        ),
    }
}
