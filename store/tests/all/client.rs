//! A client of a store in the same process: a RESP encoder and a clock that tests move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ferrite_protocol::resp::{Protocol, ReplyWriter};
use ferrite_store::{Clock, Flow, Session, Store, StoreOptions};

/// Time that a disk that works has to take everything.
pub(crate) const CLOSE_TIME: Duration = Duration::from_secs(60);

/// Writes replies as RESP bytes.
pub(crate) struct Encoder {
    pub(crate) protocol: Protocol,
    pub(crate) bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            bytes: Vec::new(),
        }
    }

    fn line(&mut self, mark: char, text: impl std::fmt::Display) {
        self.bytes
            .extend_from_slice(format!("{mark}{text}\r\n").as_bytes());
    }

    fn in_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }
}

impl ReplyWriter for Encoder {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn null(&mut self) {
        if self.in_resp3() {
            self.line('_', "");
        } else {
            self.line('$', -1);
        }
    }

    fn null_array(&mut self) {
        if self.in_resp3() {
            self.line('_', "");
        } else {
            self.line('*', -1);
        }
    }

    fn simple(&mut self, text: &str) {
        self.line('+', text);
    }

    fn error(&mut self, code_and_text: &str) {
        self.line('-', code_and_text);
    }

    fn int(&mut self, value: i64) {
        self.line(':', value);
    }

    fn double(&mut self, value: f64) {
        self.double_text(ferrite_protocol::number::format_double(value).as_bytes());
    }

    fn double_text(&mut self, text: &[u8]) {
        if self.in_resp3() {
            self.line(',', String::from_utf8_lossy(text));
        } else {
            self.bulk(text);
        }
    }

    fn bool(&mut self, value: bool) {
        if self.in_resp3() {
            self.line('#', if value { 't' } else { 'f' });
        } else {
            self.int(i64::from(value));
        }
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.line('$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn array(&mut self, len: usize) {
        self.line('*', len);
    }

    fn map(&mut self, len: usize) {
        if self.in_resp3() {
            self.line('%', len);
        } else {
            self.line('*', len * 2);
        }
    }

    fn set(&mut self, len: usize) {
        self.line(if self.in_resp3() { '~' } else { '*' }, len);
    }

    fn push(&mut self, len: usize) {
        self.line(if self.in_resp3() { '>' } else { '*' }, len);
    }

    fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        if self.in_resp3() {
            self.line('=', text.len() + 4);
            self.bytes.extend_from_slice(&format);
            self.bytes.push(b':');
            self.bytes.extend_from_slice(text);
            self.bytes.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    fn big_number(&mut self, digits: &[u8]) {
        if self.in_resp3() {
            self.line('(', String::from_utf8_lossy(digits));
        } else {
            self.bulk(digits);
        }
    }
}

/// A store, one session, and the clock.
pub(crate) struct Client {
    pub(crate) store: Store,
    pub(crate) session: Session,
    pub(crate) now: Arc<AtomicI64>,
    pub(crate) protocol: Protocol,
}

/// Start of the tests' clocks, in milliseconds since the Unix epoch.
pub(crate) const START: i64 = 1_700_000_000_000;

impl Client {
    pub(crate) fn new() -> Self {
        let now = Arc::new(AtomicI64::new(START));
        let options = StoreOptions {
            clock: Clock::Manual(Arc::clone(&now)),
            ..StoreOptions::default()
        };
        Self {
            store: Store::in_memory(&options),
            session: Session::new(),
            now,
            protocol: Protocol::Resp2,
        }
    }

    /// Opens another session of the same store.
    pub(crate) fn another(&self) -> Self {
        Self {
            store: self.store.clone(),
            session: Session::new(),
            now: Arc::clone(&self.now),
            protocol: self.protocol,
        }
    }

    pub(crate) fn advance(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    /// Runs a command given as raw arguments; returns the reply's bytes.
    pub(crate) fn raw(&mut self, argv: &[&[u8]]) -> Vec<u8> {
        let mut out = Encoder::new(self.protocol);
        match self.store.execute(&mut self.session, argv, &mut out) {
            Flow::Done => out.bytes,
            Flow::Retry(_) => b"(retry)".to_vec(),
            Flow::Blocked(_) => b"(blocked)".to_vec(),
        }
    }

    /// Runs a command given as words; returns the reply with `\r\n` written as spaces.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let argv: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        readable(&self.raw(&argv))
    }

    /// Runs commands and compares each reply.
    pub(crate) fn expect(&mut self, script: &[(&str, &str)]) {
        for (command, expected) in script {
            assert_eq!(self.run(command), *expected, "{command}");
        }
    }
}

pub(crate) fn readable(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply)
        .trim_end()
        .replace("\r\n", " ")
}

/// Runs a future that is ready at once.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("another exclusive transaction is running"),
    }
}
