//! Commands on functions, which are answered here.

use std::pin::pin;

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::{Runs, Spec};

use super::expected::Expected;
use super::own_requests::{PING, REPLIES_OFF, REPLIES_ON};
use super::{Admission, Relay, Silence, Step};
use crate::connection::close_reason::CloseReason;
use crate::dispatch::function_commands;
use crate::net::engine::functions::{Change, ShareError};
use crate::request::RequestContext;

const NOT_IN_MULTI: &str = "ERR functions cannot be called inside MULTI: the data is in another engine; the transaction is aborted";

/// The most databases that functions reach.
const DATABASES: u32 = 16;

impl Relay<'_> {
    /// Answers a command on functions.
    pub(super) async fn answer(
        &mut self,
        spec: &'static Spec,
        argv: &[&[u8]],
    ) -> Result<Step, CloseReason> {
        if self.listens {
            let name = spec.name.to_ascii_lowercase();
            self.reply_error(&format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            ));
            return Ok(Step::More);
        }
        if self.is_owed() {
            return Ok(Step::Replies);
        }
        if let Err(error) = self.open_engine().await {
            self.reply_error(&error);
            return Ok(Step::More);
        }
        if self.in_multi {
            self.note_request(argv);
            self.abort_multi(NOT_IN_MULTI);
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
            && let Some(node) = self.nodes.active_mut()
        {
            node.connection.push(REPLIES_OFF);
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
            "WASM.LOAD" | "WASM.DEFINE" | "WASM.RELOAD" | "WASM.CONFIG" | "WASM.UNLOAD"
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
        self.session.set_account(self.account.clone());
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
                if let Some(node) = self.nodes.active_mut() {
                    node.connection.push(PING);
                }
            }
            Silence::All => {}
        }
        Ok(Step::More)
    }
}

/// Returns the error reply of a change of the functions that the engine does not take.
fn not_shared(error: &ShareError) -> String {
    match error {
        ShareError::Upstream(error) => error.reply(),
        error => error.to_string(),
    }
}
