//! A host without a server: the store in memory that the functions of a thread reach.

pub(crate) mod calls;
mod commands;
mod glob;
mod keyspace;
mod replies;
mod requests;

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::level::Level;
use crate::value::Value;
use keyspace::Keyspace;
use replies::Replies;
use requests::Requests;

/// Milliseconds since 1970 that the clock of a new store shows.
const START_MILLIS: i64 = 1_700_000_000_000;

std::thread_local! {
    /// The stores of this thread; functions reach the last one.
    static STORES: RefCell<Vec<SharedState>> = const { RefCell::new(Vec::new()) };
}

/// A store, shared between its owner and the thread's list.
pub(crate) type SharedState = Rc<RefCell<State>>;

/// The contents of a store, and the call that runs on it.
pub(crate) struct State {
    keyspace: Keyspace,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
    replies: Replies,
    /// The last result that was longer than its buffer, for `take`.
    long_result: Vec<u8>,
    /// Requests to other servers.
    pub(crate) requests: Requests,
    /// The configuration of the functions: names and values; of two with one name, the last counts.
    pub(crate) config: Vec<(String, Vec<u8>)>,
    log: Vec<(Level, String)>,
    random: u64,
}

impl State {
    /// Sets the input of the next call and forgets the replies of the last one.
    pub(crate) fn begin_call(&mut self, keys: Vec<Vec<u8>>, arguments: Vec<Vec<u8>>) {
        self.keys = keys;
        self.arguments = arguments;
        self.replies = Replies::default();
    }

    /// Returns the reply of the call, or the reason why it is not exactly one.
    pub(crate) fn take_reply(&mut self) -> Result<Value, String> {
        core::mem::take(&mut self.replies).finish()
    }

    /// Runs a command.
    pub(crate) fn execute(&mut self, argv: &[&[u8]]) -> Value {
        commands::execute(&mut self.keyspace, argv)
    }

    /// Moves the clock forward.
    pub(crate) fn advance_millis(&mut self, millis: i64) {
        self.keyspace.advance_millis(millis);
    }

    /// The lines that functions have logged, oldest first.
    pub(crate) fn log(&self) -> &[(Level, String)] {
        &self.log
    }
}

/// Makes an empty store that the functions of this thread reach until [`remove`] is called, or
/// another one is made.
pub(crate) fn add() -> SharedState {
    let state = Rc::new(RefCell::new(State {
        keyspace: Keyspace::new(START_MILLIS),
        keys: Vec::new(),
        arguments: Vec::new(),
        replies: Replies::default(),
        long_result: Vec::new(),
        requests: Requests::default(),
        config: Vec::new(),
        log: Vec::new(),
        random: 0x9e37_79b9_7f4a_7c15,
    }));
    STORES.with_borrow_mut(|stores| stores.push(Rc::clone(&state)));
    state
}

/// Takes a store off the thread's list; functions reach the one that was made before it.
pub(crate) fn remove(state: &SharedState) {
    STORES.with_borrow_mut(|stores| stores.retain(|other| !Rc::ptr_eq(other, state)));
}

/// Prints a line, and adds it to the log of the thread's store if there is one.
#[allow(
    clippy::print_stdout,
    reason = "a test's runner shows it beside the failure"
)]
pub(crate) fn print(level: Level, text: &str) {
    std::println!("{text}");
    let state = STORES.with_borrow(|stores| stores.last().cloned());
    if let Some(state) = state {
        state.borrow_mut().log.push((level, text.into()));
    }
}

/// Hands the thread's store to `run`.
fn with_state<R>(run: impl FnOnce(&mut State) -> R) -> R {
    let state = STORES.with_borrow(|stores| stores.last().cloned());
    match state {
        Some(state) => run(&mut state.borrow_mut()),
        None => panic!(
            "no store on this thread: start the test with `let store = ferrite_wasm_sdk::mock::Store::new();`"
        ),
    }
}
