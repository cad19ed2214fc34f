//! `WASM.OUTBOX`: the requests that calls have committed.

use crate::automation::outbox::message::{DEAD_PREFIX, KEY_HEADER, OutboxMessage, PREFIX};
use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::grammar::options::unknown;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, FunctionFilter};
use crate::error::{CallError, Quoted};
use crate::service::Runtime;
use crate::service::outbox::ListedRequest;
use crate::service::outbox::records::RequestRecords;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::number::parse_integer;
use ferrite_protocol::resp::Encoder;

const INFO: &str = "INFO";
const LIST: &str = "LIST";
const RETRY: &str = "RETRY";
const DEL: &str = "DEL";
const PENDING: &str = "PENDING";

/// Stands for every request.
const ALL: &str = "ALL";

/// Most requests that `LIST` shows.
const SHOWN_MAX: usize = 100;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.OUTBOX",
    arity: -2,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Async,
    summary: "Shows the requests that calls have committed, and sends again or removes those that were given up.",
    syntax: "INFO|LIST|RETRY|DEL [PENDING] [id|ALL]",
    parse,
};

/// A request on the outbox.
#[derive(Clone, Copy, Debug)]
pub enum Outbox<'a> {
    /// Shows its figures.
    Info,
    /// Shows the requests that were given up.
    List,
    /// Shows the requests that wait.
    Pending,
    /// Sends those that were given up again: the one of this id, or all.
    Retry(&'a [u8]),
    /// Removes those that were given up: the one of this id, or all.
    Delete(&'a [u8]),
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    const KNOWN: &[&str] = &[INFO, LIST, RETRY, DEL];
    let command = spec.name;
    let is = |at: usize, word: &str| argv[at].eq_ignore_ascii_case(word.as_bytes());
    let parsed = match argv {
        [_, _] if is(1, INFO) => Outbox::Info,
        [_, _] if is(1, LIST) => Outbox::List,
        [_, _, option] if is(1, LIST) => {
            if !is(2, PENDING) {
                return Err(unknown(command, option, &[PENDING]));
            }
            Outbox::Pending
        }
        [_, _, id] if is(1, RETRY) => Outbox::Retry(id),
        [_, _, id] if is(1, DEL) => Outbox::Delete(id),
        _ if KNOWN.iter().any(|word| is(1, word)) => return Err(spec.wrong_arity()),
        _ => return Err(unknown(command, argv[1], KNOWN)),
    };
    Ok(Command::Outbox(parsed))
}

impl Outbox<'_> {
    /// Runs it, and returns the receipt to wait for, if it changed anything.
    pub(in crate::commands) async fn run<K: Keyspace, R: RequestRecords>(
        self,
        runtime: &Runtime<K>,
        records: &R,
        functions: FunctionFilter<'_>,
        reply: &mut Encoder,
    ) -> Result<Option<R::Receipt>, CallError> {
        runtime.outbox()?;
        match self {
            Self::Info => {
                info(runtime, reply);
                Ok(None)
            }
            Self::List => {
                list(runtime, records, functions, DEAD_PREFIX, reply).await?;
                Ok(None)
            }
            Self::Pending => {
                list(runtime, records, functions, PREFIX, reply).await?;
                Ok(None)
            }
            Self::Retry(id) => {
                let requests = given_up(runtime, records, functions, id).await?;
                let count = requests.len() as u64;
                let receipt = runtime.retry_requests(records, requests).await?;
                reply.count(count);
                Ok(Some(receipt))
            }
            Self::Delete(id) => {
                let requests = given_up(runtime, records, functions, id).await?;
                let receipt = runtime.delete_requests(records, &requests).await?;
                reply.count(requests.len() as u64);
                Ok(Some(receipt))
            }
        }
    }
}

/// Returns the requests that were given up: the one of this id, or all.
async fn given_up<K: Keyspace, R: RequestRecords>(
    runtime: &Runtime<K>,
    records: &R,
    functions: FunctionFilter<'_>,
    id: &[u8],
) -> Result<Vec<ListedRequest>, CallError> {
    let visible = |message: &OutboxMessage| functions.allows(message.function.as_bytes());
    if id.eq_ignore_ascii_case(ALL.as_bytes()) {
        let all = runtime.outbox_requests(records, DEAD_PREFIX, usize::MAX, visible);
        return all.await;
    }
    let number = parse_integer(id).and_then(|number| u64::try_from(number).ok());
    let request = match number {
        Some(number) => runtime.given_up_request(records, number).await?,
        None => None,
    };
    match request.filter(|request| visible(&request.message)) {
        Some(request) => Ok(vec![request]),
        None => Err(CallError::invalid(format!(
            "no request {} was given up; WASM.OUTBOX LIST shows those that were",
            Quoted(id)
        ))),
    }
}

fn info<K: Keyspace>(runtime: &Runtime<K>, reply: &mut Encoder) {
    let figures = runtime.outbox_figures().unwrap_or_default();
    let mut fields = Fields::new(reply);
    fields.count("pending", figures.pending as u64);
    fields.count("pending_bytes", figures.pending_bytes as u64);
    fields.count("queued", figures.queued);
    fields.count("sent", figures.sent);
    fields.count("failures", figures.failures);
    fields.count("given_up", figures.given_up);
    fields.count("dead", figures.dead as u64);
    fields.maybe_text("last_error", figures.last_error.as_deref());
    fields.finish(reply);
}

async fn list<K: Keyspace, R: RequestRecords>(
    runtime: &Runtime<K>,
    records: &R,
    functions: FunctionFilter<'_>,
    prefix: &[u8],
    reply: &mut Encoder,
) -> Result<(), CallError> {
    let visible = |message: &OutboxMessage| functions.allows(message.function.as_bytes());
    let requests = runtime.outbox_requests(records, prefix, SHOWN_MAX, visible);
    let requests = requests.await?;
    reply.array(requests.len());
    for ListedRequest { number, message } in &requests {
        let mut fields = Fields::new(reply);
        fields.count("id", *number);
        fields.text("function", message.function.as_bytes());
        // Queries and other headers may be secret.
        if let Ok(request) = message.request() {
            fields.text("method", request.method.as_str());
            fields.text("url", request.url.without_query());
            let key = request.headers.get(KEY_HEADER);
            fields.maybe_text("idempotency_key", key);
        }
        fields.with("time", |reply| reply.int(message.at));
        fields.count("tries", message.tries.into());
        fields.maybe_text(
            "error",
            (!message.error.is_empty()).then_some(message.error.as_bytes()),
        );
        fields.finish(reply);
    }
    Ok(())
}
