//! Requests of functions to servers that mean no good.

mod calls;
mod hostile_names;
mod hostile_servers;
mod server;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrite_protocol::resp::tree::{Token, Tree};
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::policy::network::resolve::Resolve;
use ferrite_runtime::policy::network::rule::NetworkRules;
use ferrite_runtime::{NetworkLimits, NetworkOptions, RuntimeOptions};

use crate::support::{Host, TestFunction};
use server::Server;

/// Makes the request that is its argument, and replies with the response. `twice` makes it two times.
/// `add` first reads a key, and writes it after the request.
const GUEST: &str = r#"(module
    (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
    (import "ferrite" "http" (func $http (param i32 i32 i32 i32) (result i32)))
    (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
    (import "ferrite" "reply_int" (func $reply_int (param i64)))
    (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
    (memory (export "memory") 40)
    (data (i32.const 0) "n")
    (func $request (result i32)
        (call $http
            (i32.const 65536) (call $arg (i32.const 0) (i32.const 65536) (i32.const 1048576))
            (i32.const 1179648) (i32.const 1048576)))
    (func $reply (param $len i32)
        (if (i32.or (i32.lt_s (local.get $len) (i32.const 0))
                    (i32.gt_s (local.get $len) (i32.const 1048576)))
            (then (call $reply_int (i64.extend_i32_s (local.get $len))))
            (else (call $reply_bulk (i32.const 1179648) (local.get $len)))))
    (func (export "run") (call $reply (call $request)))
    (func (export "twice") (drop (call $request)) (call $reply (call $request)))
    (func (export "forever") (loop $again (drop (call $request)) (br $again)))
    (func (export "count") (local $made i64)
        (loop $again
            (drop (call $request))
            ;; "-" begins an error.
            (if (i32.ne (i32.load8_u (i32.const 1179648)) (i32.const 45))
                (then
                    (local.set $made (i64.add (local.get $made) (i64.const 1)))
                    (br_if $again (i64.lt_u (local.get $made) (i64.const 10000))))))
        (call $reply_int (local.get $made)))
    (func (export "add")
        (drop (call $incr_by (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 8)))
        (drop (call $request))
        (call $reply_int (i64.load (i32.const 8)))))"#;

/// A response, or the error that came instead.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Response {
        status: i64,
        url: String,
        body: String,
        headers: Vec<(String, String)>,
    },
    Failed(String),
    /// The call's own reply is no response.
    Reply(String),
}

impl Answer {
    #[track_caller]
    fn body(self) -> String {
        match self {
            Self::Response { body, .. } => body,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn failure(self) -> String {
        match self {
            Self::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// A host whose functions may reach the loopback, and a function that may make any request.
pub(crate) struct Client {
    host: Host,
    function: TestFunction,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Self {
        Self::with(options(server))
    }

    pub(crate) fn with(options: NetworkOptions) -> Self {
        Self::with_rules(options, &["https://*:*", "http://*:*"])
    }

    pub(crate) fn with_rules(options: NetworkOptions, rules: &[&str]) -> Self {
        let host = Host::with_runtime(RuntimeOptions {
            network: options,
            ..RuntimeOptions::default()
        });
        let function = host.load_with(GUEST, |spec| {
            spec.permissions.allow_network = rules.iter().map(|&rule| rule.to_owned()).collect();
            spec.limits.fuel_max = 5_000_000_000;
            spec.limits.time_max = Duration::from_secs(60);
        });
        Self { host, function }
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(&["GET", url, ""]).await
    }

    pub(crate) async fn send(&self, words: &[&str]) -> Answer {
        let request = encode(words);
        let args: [&[u8]; 1] = [&request];
        self.call(&CallRequest::new(b"test", &[], &args)).await
    }

    pub(crate) async fn call(&self, request: &CallRequest<'_>) -> Answer {
        let mut reply = Encoder::new(Protocol::Resp2);
        self.host.run(&self.function, request, &mut reply).await;
        let text = String::from_utf8_lossy(reply.bytes()).trim_end().to_owned();
        match Tree::read(reply.bytes()) {
            Some(Tree::Leaf(Token::Bulk(response))) => read(response),
            _ => Answer::Reply(text),
        }
    }
}

pub(crate) fn options(server: &Server) -> NetworkOptions {
    NetworkOptions {
        rules: NetworkRules::parse(&["https://*:*", "http://*:*"]).expect("rules"),
        private_ranges: vec!["127.0.0.1".parse().expect("a range")],
        limits: NetworkLimits {
            response_bytes_max: 1 << 20,
            ..NetworkLimits::DEFAULT
        },
        extra_roots: server.certificate.clone().into_bytes(),
        resolver: None,
    }
}

/// Encodes a request as a guest does.
pub(crate) fn encode(words: &[&str]) -> Vec<u8> {
    let mut request = Encoder::new(Protocol::Resp2);
    request.array(words.len());
    for word in words {
        request.bulk(word.as_bytes());
    }
    request.take()
}

fn read(response: &[u8]) -> Answer {
    let text =
        |tree: &Tree<'_>| String::from_utf8_lossy(tree.text().expect("a string")).into_owned();
    let tree = Tree::read(response).expect("a response");
    let [status, url, body, headers @ ..] = tree.list() else {
        let error = String::from_utf8_lossy(response);
        return Answer::Failed(error.trim_start_matches('-').trim_end().to_owned());
    };
    Answer::Response {
        status: status.int().expect("a status"),
        url: text(url),
        body: text(body),
        headers: headers
            .chunks(2)
            .map(|pair| (text(&pair[0]), text(&pair[1])))
            .collect(),
    }
}

/// A resolver whose answers a test chooses.
pub(crate) struct Answers<F>(pub(super) F);

impl<F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync> Resolve for Answers<F> {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(host)
    }
}

pub(crate) fn resolving(
    answer: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
) -> Option<Arc<dyn Resolve>> {
    Some(Arc::new(Answers(answer)))
}
