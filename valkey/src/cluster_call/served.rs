//! Calls that other nodes asked this one for.
//!
//! A request may come more than once, because the bus may lose its reply. So the reply is kept until
//! the asking node ends the call, or its time is up.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::api::bus;
use crate::api::context::Context;
use crate::api::ffi;
use crate::cluster_call::events::{Event, EventSender, ServedKey};
use crate::cluster_call::gathering::error;
use crate::cluster_call::message::{COMMAND, REPLY, REPLY_BYTES_MAX, RunReply, RunRequest};
use crate::cluster_call::primaries::holds_slots;
use crate::execution::blocked_client::locked_context_of_user;
use crate::execution::caller_share;
use crate::execution::job::{Job, PartCall, PartKind};
use crate::execution::runner::Run;
use crate::execution::worker_pool::CancelHandle;
use crate::module::Module;

/// Most calls that run or are kept for other nodes.
const SERVED_MAX: usize = 1024;

/// Time for which a reply is kept after the call's own time.
const KEEP: Duration = Duration::from_secs(5);

/// A call for another node.
struct Served {
    /// The slots that the asking node expects this one to have.
    slots: String,
    held_at_start: bool,
    state: State,
    until: Instant,
}

enum State {
    Running(CancelHandle),
    /// The message with its reply.
    Done(Vec<u8>),
}

/// The calls of this node for others.
#[derive(Default)]
pub(crate) struct ServedCalls(HashMap<ServedKey, Served>);

impl ServedCalls {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs a call that another node asks for, or sends its reply again.
    pub(crate) fn run(
        &mut self,
        module: &'static Module,
        context: Context<'_>,
        events: &EventSender,
        sender: &[u8],
        request: RunRequest,
    ) {
        let key: ServedKey = (sender.into(), request.id);
        match self.0.get(&key).map(|served| &served.state) {
            Some(State::Running(_)) => return,
            Some(State::Done(message)) => {
                bus::send(context, Some(sender), REPLY, message);
                return;
            }
            None => {}
        }
        let id = request.id;
        let until = Instant::now() + request.timeout + KEEP;
        let slots = request.slots.clone();
        match self.begin(module, context, events, &key, request) {
            Ok((held_at_start, cancel)) => {
                let state = State::Running(cancel);
                let served = Served {
                    slots,
                    held_at_start,
                    state,
                    until,
                };
                self.0.insert(key, served);
            }
            Err(text) => {
                let reply = RunReply {
                    id,
                    slots_held: true,
                    reply: error(&text),
                };
                bus::send(context, Some(sender), REPLY, &reply.encode());
            }
        }
    }

    fn begin(
        &self,
        module: &'static Module,
        context: Context<'_>,
        events: &EventSender,
        key: &ServedKey,
        request: RunRequest,
    ) -> Result<(bool, CancelHandle), String> {
        if self.0.len() >= SERVED_MAX {
            return Err(format!(
                "BUSY it runs {SERVED_MAX} calls for other nodes, which is the limit; try again later"
            ));
        }
        if context.flags() & ffi::CTX_PRIMARY == 0 {
            return Err("CLUSTERDOWN it has become a replica; call again".to_owned());
        }
        if let Some(user) = &request.user {
            let words = [COMMAND.as_bytes(), &request.function].map(|word| context.string(word));
            let argv = [words[0].borrow(), words[1].borrow()];
            if !context.is_user_on(user) || !context.may_user_run(user, &argv) {
                return Err(format!(
                    "NOPERM the user '{}' is unknown or off there, or may not run {COMMAND} there; give it the same rights on every node",
                    user.escape_ascii()
                ));
            }
        }
        let RunRequest {
            id: _,
            user,
            database,
            protocol,
            timeout,
            slots,
            function,
            args,
        } = request;
        if let Err(error) = module.pool.prepare(module.options.threads) {
            return Err(format!("BUSY {error}; try again later"));
        }
        let held = holds_slots(context, &slots);
        let part = PartCall {
            kind: PartKind::Map,
            function,
            args,
            timeout: Some(timeout),
            protocol,
            user: caller_share::of_user(context, user.as_deref()),
        };
        // Moved into the pool at once: dropping it takes the lock that this thread holds.
        let locked = locked_context_of_user(context, user.map(Into::into), database)
            .ok_or("BUSY the server gives no context for a call; try again later")?;
        let run = Run::without_command(&module.runtime, database, Job::Part(Box::new(part)));
        let (events, key) = (events.clone(), key.clone());
        let deliver = move |_, reply| events.tell_waiting(Event::Served { key, reply });
        Ok((held, module.pool.run(run, locked, Box::new(deliver))))
    }

    /// Sends the reply of a call that has ended.
    pub(crate) fn ended(&mut self, context: Context<'_>, key: &ServedKey, reply: Vec<u8>) {
        let Some(served) = self.0.get_mut(key) else {
            return;
        };
        let reply = if reply.len() > REPLY_BYTES_MAX {
            error(&format!(
                "LIMIT the reply has {} bytes, the limit of one node's reply is {REPLY_BYTES_MAX}; reply less",
                reply.len()
            ))
        } else {
            reply
        };
        let message = RunReply {
            id: key.1,
            slots_held: served.held_at_start && holds_slots(context, &served.slots),
            reply,
        }
        .encode();
        bus::send(context, Some(&key.0), REPLY, &message);
        served.state = State::Done(message);
    }

    /// Forgets a call, and ends it if it runs.
    pub(crate) fn end(&mut self, key: &ServedKey) {
        if let Some(Served {
            state: State::Running(cancel),
            ..
        }) = self.0.remove(key)
        {
            cancel.cancel();
        }
    }

    /// Forgets calls whose time is up.
    pub(crate) fn forget_old(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, served| {
            let keep = now < served.until;
            if let (false, State::Running(cancel)) = (keep, &served.state) {
                cancel.cancel();
            }
            keep
        });
    }
}
