//! A connection of a client to an engine, with functions in between.
//!
//! Each client has a connection of its own to the engine, on which its requests and the replies pass
//! byte for byte. So transactions, blocking commands, channels and tracking work as they do without this
//! server. Only commands on functions are answered here, once the engine has answered everything before.

mod engine;
mod expected;
mod frames;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ferrite_protocol::resp::{Encoder, Protocol, RequestScanner, Scan};
use ferrite_runtime::commands::{self, Runs, Spec};
use ferrite_upstream::{Account, EngineStream};
use smallvec::SmallVec;

use crate::clients::registry::Client;
use crate::clients::session::ClientSession;
use crate::connection::close_reason::CloseReason;
use crate::dispatch::function_commands;
use crate::net::engine::Engine;
use crate::net::engine::functions::{Change, ShareError};
use crate::net::memory_budget::MemoryReservation;
use crate::net::socket::Socket;
use crate::request::RequestContext;
use crate::scheduling::futures::{TimedOut, with_timeout};
use crate::state::ServerState;
use engine::EngineConnection;
use expected::{Expected, Replies};
use frames::FrameScanner;

/// Bytes of requests that wait to be sent to the engine before more are read.
const PENDING_BYTES_MAX: usize = 256 * 1024;

/// Replies that the engine may owe before more requests are read.
const EXPECTED_MAX: usize = 16 * 1024;

/// Bytes of input that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// The request of which an engine says that there is no such command, which ends its `MULTI`.
const UNKNOWN_COMMAND: &[u8] = b"*1\r\n$9\r\nWASM.CALL\r\n";

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

const REPLIES_ON: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n";
const REPLIES_OFF: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n";

const NOT_IN_MULTI: &str = "ERR functions cannot be called inside MULTI: the data is in another engine; the transaction is aborted";

/// The most databases that functions reach.
const DATABASES: u32 = 16;

/// Serves one client until its connection closes.
pub(crate) async fn serve(
    state: &Arc<ServerState>,
    engine: &Engine,
    client: &Client,
    socket: Socket,
    session: ClientSession,
    mut scanner: RequestScanner,
) -> CloseReason {
    let mut relay = Relay {
        state,
        client,
        settings: engine,
        socket,
        session,
        memory: state.request_memory.reserve(),
        engine: None,
        frames: FrameScanner::default(),
        head: Vec::new(),
        expected: VecDeque::new(),
        input: Vec::new(),
        used: 0,
        output: Vec::new(),
        account: Account::default(),
        database: 0,
        protocol: Protocol::Resp2,
        in_multi: false,
        settles: false,
        channels: 0,
        listens: false,
        streams: false,
        silence: Silence::None,
        has_caught_up: false,
        admission: Admission::Unknown,
    };
    match relay.run(&mut scanner).await {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

/// Replies that the client has asked not to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    None,
    /// The next one.
    Next,
    /// All.
    All,
}

/// The knowledge of the client's right to use the engine at all.
#[derive(Debug)]
enum Admission {
    Unknown,
    Asked,
    Admitted,
    /// The engine's error.
    Refused(Vec<u8>),
}

struct Relay<'a> {
    state: &'a Arc<ServerState>,
    client: &'a Client,
    settings: &'a Engine,
    socket: Socket,
    session: ClientSession,
    memory: MemoryReservation<'a>,
    /// The connection to the engine; `None` until it is needed.
    engine: Option<EngineConnection>,
    frames: FrameScanner,
    /// The start of the reply that is being read.
    head: Vec<u8>,
    expected: VecDeque<Expected>,
    input: Vec<u8>,
    /// Bytes of the input that were taken up.
    used: usize,
    output: Vec<u8>,
    account: Account,
    database: u32,
    protocol: Protocol,
    in_multi: bool,
    /// True if the last request decides how the next one is read.
    settles: bool,
    /// Channels that the client listens to, as the engine counted them last.
    channels: u64,
    /// True in RESP2 while the client listens to channels.
    listens: bool,
    /// True once the engine sends what answers no request.
    streams: bool,
    silence: Silence,
    /// True if the engine has answered all earlier requests of a client that wants no replies.
    has_caught_up: bool,
    admission: Admission,
}

/// The next thing to do about the input.
enum Step {
    /// More requests may be there.
    More,
    /// Wait for replies of the engine.
    Replies,
    /// Wait for input.
    Input,
    /// End the connection once the replies are sent.
    End(CloseReason),
}

type Never = std::convert::Infallible;

impl Relay<'_> {
    async fn run(&mut self, scanner: &mut RequestScanner) -> Result<Never, CloseReason> {
        let mut ends = None;
        loop {
            let mut wants_input = true;
            while ends.is_none() {
                match self.step(scanner).await? {
                    Step::More => {}
                    Step::Replies => {
                        wants_input = false;
                        break;
                    }
                    Step::Input => break,
                    Step::End(reason) => ends = Some(reason),
                }
            }
            self.flush().await?;
            if ends.is_some() && self.expected.is_empty() {
                return Err(ends.take().unwrap_or(CloseReason::Requested));
            }
            if let Err(reason) = self.wait(wants_input && ends.is_none()).await {
                // Replies that came before still reach a client that is there.
                self.flush().await?;
                return Err(reason);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), CloseReason> {
        if self.output.is_empty() {
            return Ok(());
        }
        let timeout = self.state.live.write_timeout();
        self.socket.write(&self.output, timeout).await?;
        self.state.stats.output_bytes.add(self.output.len() as u64);
        self.output.clear();
        self.output.shrink_to(READ_BYTES);
        Ok(())
    }

    /// Waits for input or for the engine, whichever comes first.
    async fn wait(&mut self, wants_input: bool) -> Result<(), CloseReason> {
        let live = &self.state.live;
        let idle = self.expected.is_empty() && !self.listens && !self.streams;
        let limit = match (idle, self.input.len() == self.used) {
            (true, true) => live.idle_timeout(),
            (_, false) if wants_input => live.stall_timeout(),
            _ => Duration::ZERO,
        };
        let Self {
            socket,
            engine,
            input,
            used,
            client,
            ..
        } = self;
        let from_engine = async {
            match engine {
                Some(engine) => engine.exchange().await,
                None => std::future::pending().await,
            }
        };
        input.drain(..std::mem::take(used));
        if input.is_empty() {
            input.shrink_to(READ_BYTES);
        }
        input.reserve(READ_BYTES);
        let from_client = async {
            if wants_input {
                return socket.read(input).await.map(Some);
            }
            socket.closed().await;
            if client.is_draining() {
                std::future::pending::<()>().await;
            }
            Ok(None)
        };
        let both = async {
            tokio::select! {
                exchanged = from_engine => Ok(exchanged),
                read = from_client => Err(read),
            }
        };
        let came = match with_timeout(limit, both).await {
            Ok(came) => came,
            Err(TimedOut) if self.input.is_empty() => return Err(CloseReason::IdleTimeout),
            Err(TimedOut) => return Err(CloseReason::StallTimeout),
        };
        match came {
            Ok(Ok(())) => self.receive(),
            Ok(Err(error)) => {
                tracing::debug!(client = self.client.id, %error, "the engine closed a connection");
                Err(CloseReason::EngineLeft)
            }
            Err(Ok(None | Some(0))) => {
                if self.client.is_draining() && !self.expected.is_empty() {
                    return self.drain().await;
                }
                Err(CloseReason::ClientLeft)
            }
            Err(Ok(Some(read))) => {
                self.state.stats.input_bytes.add(read as u64);
                self.client.touch();
                self.account_memory()
            }
            Err(Err(error)) => Err(error.into()),
        }
    }

    /// Passes on the replies that the engine still owes, when the server stops.
    async fn drain(&mut self) -> Result<(), CloseReason> {
        while !self.expected.is_empty() {
            let Some(engine) = &mut self.engine else {
                break;
            };
            if engine.exchange().await.is_err() {
                break;
            }
            self.receive()?;
            self.flush().await?;
        }
        Err(CloseReason::ServerStopped)
    }

    /// Counts the memory of a request that has not wholly arrived.
    fn account_memory(&mut self) -> Result<(), CloseReason> {
        let activity = &self.client.activity;
        activity
            .input_bytes
            .store(self.input.len(), Ordering::Relaxed);
        let bytes = match self.input.capacity() {
            small if small <= 4 * READ_BYTES => 0,
            large => large as u64,
        };
        let bytes_max = self.state.config.server.max_request_memory.0;
        match self.memory.resize(bytes, bytes_max) {
            true => Ok(()),
            false => Err(CloseReason::MemoryBudget),
        }
    }

    /// Passes on what the engine has sent.
    fn receive(&mut self) -> Result<(), CloseReason> {
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        let received = std::mem::take(&mut engine.received);
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            if self.streams {
                self.output.extend_from_slice(rest);
                break;
            }
            let (used, ended) = match self.frames.feed(rest) {
                Ok(fed) => fed,
                Err(error) => {
                    tracing::warn!(client = self.client.id, %error, "an engine is no Redis-compatible one");
                    let mut reply = Encoder::new(self.protocol);
                    reply.error(format!("STORE {error}"));
                    self.output.extend_from_slice(reply.bytes());
                    // Best effort: the connection ends in any case.
                    return Err(CloseReason::EngineGarbage);
                }
            };
            let frame = &rest[..used];
            rest = &rest[used..];
            let is_push = self.frames.first() == Some(b'>');
            if is_push || (self.listens && self.protocol == Protocol::Resp2) {
                self.output.extend_from_slice(frame);
                if self.listens && !is_push {
                    self.listened(frame, ended);
                }
                continue;
            }
            match self.expected.front() {
                Some(Expected::Admission | Expected::Login | Expected::Instead(_)) => {}
                _ => self.output.extend_from_slice(frame),
            }
            const HEAD_BYTES: usize = 512;
            let room = HEAD_BYTES.saturating_sub(self.head.len());
            self.head.extend_from_slice(&frame[..frame.len().min(room)]);
            if ended {
                let head = std::mem::take(&mut self.head);
                if let Some(expected) = self.expected.pop_front() {
                    self.answered(expected, &head);
                }
            }
        }
        if let Some(engine) = &mut self.engine {
            engine.received = received;
            engine.received.clear();
        }
        Ok(())
    }

    /// Notes the end of listening, which is the confirmation that no channel is left.
    fn listened(&mut self, frame: &[u8], ended: bool) {
        /// Longer replies are messages.
        const CONFIRMATION_BYTES_MAX: usize = 64 * 1024;
        if self.head.len() + frame.len() <= CONFIRMATION_BYTES_MAX {
            self.head.extend_from_slice(frame);
        }
        if !ended {
            return;
        }
        let head = std::mem::take(&mut self.head);
        if head.starts_with(b"+RESET") {
            self.listens = false;
            self.answered(Expected::Reset, &head);
            return;
        }
        match confirmed(&head) {
            Some(channels) => self.channels = channels,
            // The engine refused to let it listen.
            None if head.first() == Some(&b'-') => {}
            None => return,
        }
        self.listens = self.channels > 0;
    }

    /// Notes what a reply has changed. `head` is its start.
    fn answered(&mut self, expected: Expected, head: &[u8]) {
        let failed = head.first() == Some(&b'-');
        match expected {
            Expected::Admission => {
                self.admission = match head.starts_with(b"-NOAUTH") {
                    true => Admission::Refused(head.to_vec()),
                    false => Admission::Admitted,
                };
            }
            Expected::Login if failed => {
                tracing::warn!(
                    error = %head.escape_ascii(),
                    "the engine refuses the credentials of upstream.url"
                );
            }
            Expected::Instead(reply) => self.output.extend_from_slice(&reply),
            // They end it even if they fail, as in `EXECABORT`.
            Expected::EndMulti => self.in_multi = false,
            _ if failed || head.starts_with(b"+QUEUED") => {}
            Expected::Nothing | Expected::Login | Expected::RepliesOn => {}
            Expected::Account(account) => self.set_account(account),
            Expected::Hello(protocol, account) => {
                if let Some(protocol) = protocol {
                    self.protocol = protocol;
                }
                if let Some(account) = account {
                    self.set_account(account);
                }
            }
            Expected::Database(database) => self.database = database,
            Expected::Multi => self.in_multi = true,
            Expected::Reset => {
                self.set_account(Account::default());
                self.database = 0;
                self.protocol = Protocol::Resp2;
                self.in_multi = false;
            }
        }
    }

    fn set_account(&mut self, account: Account) {
        let user = account.user.clone().unwrap_or_else(|| "default".to_owned());
        self.client.update_labels(|labels| labels.user = user);
        self.account = account;
        self.admission = Admission::Unknown;
    }

    /// Takes up the next request, if it has arrived and may be.
    async fn step(&mut self, scanner: &mut RequestScanner) -> Result<Step, CloseReason> {
        let pending = self
            .engine
            .as_ref()
            .map_or(0, EngineConnection::pending_bytes);
        let settles = self.settles && !self.expected.is_empty();
        if settles || pending > PENDING_BYTES_MAX || self.expected.len() > EXPECTED_MAX {
            return Ok(Step::Replies);
        }
        let consumed = match scanner.scan(&self.input[self.used..]) {
            Ok(Scan::Complete { consumed }) => consumed,
            Ok(Scan::Incomplete { .. }) => return Ok(Step::Input),
            Err(error) => {
                if !self.expected.is_empty() {
                    return Ok(Step::Replies);
                }
                self.state.stats.protocol_errors.add(1);
                self.reply_error(&format!("ERR {error}"));
                return Ok(Step::End(CloseReason::ProtocolError));
            }
        };
        let input = std::mem::take(&mut self.input);
        let request = &input[self.used..self.used + consumed];
        let argv: SmallVec<[&[u8]; 16]> = scanner.arguments(request).collect();
        let step = match argv.first() {
            None => Ok(Step::More),
            Some(name) => match self.local(name, &argv) {
                _ if self.streams => self.forward(request, &argv).await,
                Some(spec) => self.answer(spec, &argv).await,
                None => self.forward(request, &argv).await,
            },
        };
        drop(argv);
        self.input = input;
        // A request that has to wait for replies is taken up again.
        if !matches!(step, Ok(Step::Replies)) {
            self.used += consumed;
        }
        step
    }

    /// Returns the row of a command that is answered here.
    fn local(&self, name: &[u8], argv: &[&[u8]]) -> Option<&'static Spec> {
        let spec = commands::find(name)?;
        if spec.name.starts_with("WASM.") {
            return Some(spec);
        }
        // `FCALL` of a function that is not ours is the engine's.
        let function = argv.get(1)?;
        let function = function.split(|&byte| byte == b'.').next()?;
        let functions = self.state.functions.as_ref()?;
        functions.function(function).is_ok().then_some(spec)
    }

    /// Sends a request on to the engine.
    async fn forward(&mut self, request: &[u8], argv: &[&[u8]]) -> Result<Step, CloseReason> {
        if let Err(error) = self.open_engine().await {
            self.reply_error(&error);
            return Ok(Step::More);
        }
        let replies = match self.listens {
            // Its replies are told from messages by nothing, but nothing waits for them either.
            true => Replies::Several(0),
            false => expected::replies(argv, self.protocol),
        };
        // Whether the client may use the engine can only be asked while there are replies.
        if matches!(replies, Replies::Off | Replies::Skip)
            && matches!(self.admission, Admission::Unknown)
        {
            self.ask_admission();
            return Ok(Step::Replies);
        }
        // Replies to earlier requests must be told from what follows.
        if matches!(replies, Replies::Listens | Replies::Stream) && !self.expected.is_empty() {
            return Ok(Step::Replies);
        }
        self.note_request(argv);
        if let Some(engine) = &mut self.engine {
            engine.push(request);
        }
        match replies {
            Replies::One(Expected::RepliesOn) => {
                self.silence = Silence::None;
                self.expected.push_back(Expected::RepliesOn);
            }
            Replies::One(_) | Replies::Several(_) if self.silence == Silence::All => {}
            Replies::One(_) | Replies::Several(_) if self.silence == Silence::Next => {
                self.silence = Silence::None;
            }
            Replies::One(expected) => self.expected.push_back(expected),
            Replies::Several(count) => {
                self.expected
                    .extend(std::iter::repeat_with(|| Expected::Nothing).take(count));
            }
            Replies::Listens => self.listens = true,
            Replies::Stream => self.streams = true,
            Replies::Off => self.silence = Silence::All,
            Replies::Skip => self.silence = Silence::Next,
        }
        // What these change decides how the next request is read.
        self.settles = matches!(
            self.expected.back(),
            Some(Expected::Hello(..) | Expected::Reset)
        );
        Ok(Step::More)
    }

    /// Opens the connection to the engine, if it is not open.
    async fn open_engine(&mut self) -> Result<(), String> {
        if self.engine.is_some() {
            return Ok(());
        }
        let pool = self.settings.upstream.pool_options();
        let location = &pool.location;
        let tls = pool.tls.as_ref().filter(|_| location.tls);
        let stream = EngineStream::connect(&location.address, tls, pool.connect_time_max)
            .await
            .map_err(|error| {
                format!(
                    "STORE the engine at {} cannot be reached: {error}; try again later",
                    location.address
                )
            })?;
        let mut engine = EngineConnection::new(stream);
        if self.settings.shares_account
            && let Some(words) = location.account.auth()
        {
            let mut auth = Encoder::new(Protocol::Resp2);
            auth.array(words.len());
            words.iter().for_each(|word| auth.bulk(word.as_bytes()));
            engine.push(auth.bytes());
            self.expected.push_back(Expected::Login);
            self.account = location.account.clone();
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn note_request(&self, argv: &[&[u8]]) {
        if let Some(name) = argv.first() {
            self.client.activity.set_command(name);
        }
        self.client
            .activity
            .requests
            .fetch_add(1, Ordering::Relaxed);
        self.state.stats.requests.add(1);
    }

    /// Answers a command on functions.
    async fn answer(&mut self, spec: &'static Spec, argv: &[&[u8]]) -> Result<Step, CloseReason> {
        if self.listens {
            let name = spec.name.to_ascii_lowercase();
            self.reply_error(&format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            ));
            return Ok(Step::More);
        }
        if !self.expected.is_empty() {
            return Ok(Step::Replies);
        }
        if let Err(error) = self.open_engine().await {
            self.reply_error(&error);
            return Ok(Step::More);
        }
        if self.in_multi {
            self.note_request(argv);
            let mut reply = Encoder::new(self.protocol);
            reply.error(NOT_IN_MULTI);
            self.send_own(UNKNOWN_COMMAND, Expected::Instead(reply.take()));
            return Ok(Step::More);
        }
        match &self.admission {
            Admission::Unknown => {
                self.ask_admission();
                return Ok(Step::Replies);
            }
            // Its reply is not expected any more, so it has come.
            Admission::Asked | Admission::Admitted => {}
            Admission::Refused(error) => {
                let error = error.clone();
                self.output.extend_from_slice(&error);
                return Ok(Step::More);
            }
        }
        if self.silence == Silence::All && !self.has_caught_up {
            // The replies that the client does not want tell that its earlier requests have run.
            self.has_caught_up = true;
            self.send_own(REPLIES_ON, Expected::Instead(Vec::new()));
            return Ok(Step::Replies);
        }
        if std::mem::take(&mut self.has_caught_up)
            && let Some(engine) = &mut self.engine
        {
            engine.push(REPLIES_OFF);
        }
        self.note_request(argv);
        if self.database >= DATABASES {
            self.reply_error(&format!(
                "ERR functions reach the databases 0 to {}",
                DATABASES - 1
            ));
            return Ok(Step::More);
        }
        if matches!(spec.name, "WASM.TRIGGER" | "WASM.SCHEDULE") {
            self.reply_error(&format!(
                "ERR {} needs the data in this server, and it is in another engine (upstream.url)",
                spec.name
            ));
            return Ok(Step::More);
        }
        // Replies of earlier requests must not wait for the call.
        self.flush().await?;
        let changes = matches!(
            spec.name,
            "WASM.LOAD" | "WASM.DEFINE" | "WASM.RELOAD" | "WASM.UNLOAD"
        );
        let account = self.account.clone();
        let change = match &self.state.functions {
            Some(functions) if changes => {
                match Change::begin(self.settings, &account, functions).await {
                    Ok(change) => Some(change),
                    Err(error) => {
                        self.reply_error(&not_shared(&error));
                        return Ok(Step::More);
                    }
                }
            }
            _ => None,
        };
        let mut reply = Encoder::new(self.protocol);
        self.session.account = Some(self.account.clone());
        let database = self.database.to_string();
        if let Err(error) = self
            .state
            .store
            .select(&mut self.session.store, database.as_bytes())
        {
            self.reply_error(&error.to_string());
            return Ok(Step::More);
        }
        {
            let mut context = RequestContext {
                state: self.state,
                client: self.client,
                session: &mut self.session,
                command_number: u16::MAX,
                reply: &mut reply,
            };
            let running = pin!(function_commands::run(&mut context, spec, argv));
            let left = async {
                self.socket.closed().await;
                if self.client.is_draining() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = running => {}
                // A load goes on by itself.
                () = left, if spec.runs == Runs::Async => return Err(CloseReason::ClientLeft),
            }
        }
        if reply.bytes().first() != Some(&b'-')
            && let (Some(change), Some(name)) = (change, argv.get(1))
            && let Err(error) = change.share(name).await
        {
            reply.clear();
            reply.error(not_shared(&error));
        }
        match self.silence {
            Silence::None => self.output.extend_from_slice(reply.bytes()),
            Silence::Next => {
                self.silence = Silence::None;
                // The engine still leaves out the reply to the next request, so it gets one.
                if let Some(engine) = &mut self.engine {
                    engine.push(PING);
                }
            }
            Silence::All => {}
        }
        Ok(Step::More)
    }

    /// Asks the engine whether the client may use it at all.
    fn ask_admission(&mut self) {
        self.send_own(PING, Expected::Admission);
        self.admission = Admission::Asked;
    }

    /// Sends a request of this server's own.
    fn send_own(&mut self, request: &[u8], expected: Expected) {
        if let Some(engine) = &mut self.engine {
            engine.push(request);
            self.expected.push_back(expected);
        }
    }

    fn reply_error(&mut self, error: &str) {
        let mut reply = Encoder::new(self.protocol);
        reply.error(error);
        self.output.extend_from_slice(reply.bytes());
    }
}

/// Returns the error reply of a change of the functions that the engine does not take.
fn not_shared(error: &ShareError) -> String {
    match error {
        ShareError::Upstream(error) => error.reply(),
        error => error.to_string(),
    }
}

/// Returns the number of channels in the confirmation of `SUBSCRIBE`, `UNSUBSCRIBE` and their like.
fn confirmed(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(b"*3\r\n$")?;
    let at = rest.iter().position(|&byte| byte == b'\n')?;
    let kind = rest[at + 1..].split(|&byte| byte == b'\r').next()?;
    if !kind.ends_with(b"subscribe") {
        return None;
    }
    let count = frame
        .strip_suffix(b"\r\n")?
        .rsplit(|&byte| byte == b'\n')
        .next()?;
    std::str::from_utf8(count.strip_prefix(b":")?)
        .ok()?
        .parse()
        .ok()
}
