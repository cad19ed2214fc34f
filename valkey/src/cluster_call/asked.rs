//! Calls on all nodes that clients asked this node for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::bus;
use crate::api::context::Context;
use crate::api::string::Args;
use crate::cluster_call::events::{Begin, Departure, Event, EventSender};
use crate::cluster_call::gathering::{Gathering, Next, NodeState, error};
use crate::cluster_call::message::{END, RUN, RunReply, RunRequest, encode_end};
use crate::cluster_call::primaries::{holds_slots, topology};
use crate::execution::blocked_client::{WaitingClient, locked_context_of_user};
use crate::execution::caller_share;
use crate::execution::job::{Job, PartCall, PartKind};
use crate::execution::runner::Run;
use crate::execution::worker_pool::CancelHandle;
use crate::module::Module;
use crate::transaction::call::Call;

/// Time after which a node without a reply is asked again, because the bus may have lost a message.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A call, and the client that waits for it.
struct Waited {
    gathering: Gathering,
    client: WaitingClient,
    /// The part that runs on this node.
    running: Option<CancelHandle>,
    /// True if this node had the expected slots as its part began.
    held_at_start: bool,
    /// Kept for the server, which has only a weak reference to it.
    _departure: Arc<Departure>,
}

/// The calls by their numbers.
#[derive(Default)]
pub(crate) struct AskedCalls(HashMap<u64, Waited>);

/// What the thread works with.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) module: &'static Module,
    pub(crate) events: &'a EventSender,
    pub(crate) context: Context<'a>,
}

impl AskedCalls {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, around: Surroundings<'_>, begin: Begin) {
        let Begin {
            id,
            asked,
            topology,
            client,
            departure,
        } = begin;
        let stop = Arc::clone(&departure.running.stop);
        let mut waited = Waited {
            gathering: Gathering::new(id, asked, topology, stop),
            client,
            running: None,
            held_at_start: true,
            _departure: departure,
        };
        waited.ask(around);
        self.0.insert(id, waited);
        self.go_on(around, id);
    }

    /// Takes a node's reply.
    pub(crate) fn replied(&mut self, around: Surroundings<'_>, sender: &[u8], message: RunReply) {
        let RunReply {
            id,
            slots_held,
            reply,
        } = message;
        if let Some(waited) = self.0.get_mut(&id) {
            let node = String::from_utf8_lossy(sender);
            waited.gathering.take_reply(&node, slots_held, reply);
            self.go_on(around, id);
        }
    }

    /// Takes the reply of the part that ran on this node.
    pub(crate) fn mapped(&mut self, around: Surroundings<'_>, id: u64, reply: Vec<u8>) {
        let Some(waited) = self.0.get_mut(&id) else {
            return;
        };
        let nodes = &waited.gathering.nodes;
        let own = nodes.iter().find(|node| node.primary.is_self);
        if let Some(primary) = own.map(|node| node.primary.clone()) {
            let held = waited.held_at_start && holds_slots(around.context, &primary.slots);
            waited.gathering.take_reply(&primary.id, held, reply);
        }
        self.go_on(around, id);
    }

    /// Takes the reply of the entry that got the replies.
    pub(crate) fn reduced(&mut self, id: u64, reply: Vec<u8>) {
        if let Some(waited) = self.0.remove(&id) {
            let stopped = waited.gathering.stopped();
            let reply = stopped.unwrap_or_else(|| waited.gathering.finished(reply));
            waited.reply(reply);
        }
    }

    /// Looks after all calls: their flags, their time, nodes that failed, messages that were lost.
    pub(crate) fn look_after(&mut self, around: Surroundings<'_>) {
        if self.0.is_empty() {
            return;
        }
        let topology = topology(around.context);
        let ids: Vec<u64> = self.0.keys().copied().collect();
        for id in ids {
            if let Some(waited) = self.0.get_mut(&id) {
                if let Some(topology) = &topology {
                    waited.gathering.check_nodes(topology);
                }
                waited.gathering.check_time();
                waited.ask(around);
            }
            self.go_on(around, id);
        }
    }

    /// Ends a call, or begins its second part, if nothing is left to wait for.
    pub(crate) fn go_on(&mut self, around: Surroundings<'_>, id: u64) {
        let Some(waited) = self.0.get_mut(&id) else {
            return;
        };
        let reply = match waited.gathering.stopped() {
            Some(reply) => reply,
            None => match waited.gathering.next() {
                None => return,
                Some(Next::Reply(reply)) => reply,
                Some(Next::Reduce { function, args }) => {
                    waited.end_elsewhere(around);
                    match waited.reduce(around, function, args) {
                        Ok(()) => return,
                        Err(text) => error(&text),
                    }
                }
            },
        };
        if let Some(waited) = self.0.remove(&id) {
            waited.end_elsewhere(around);
            if let Some(running) = &waited.running {
                running.cancel();
            }
            waited.reply(reply);
        }
    }
}

impl Waited {
    /// Asks the nodes that were not asked yet, or whose reply may be lost.
    fn ask(&mut self, around: Surroundings<'_>) {
        let gathering = &mut self.gathering;
        let (timeout, protocol) = (gathering.time_left(), gathering.map_protocol());
        let asked = &gathering.asked;
        for node in &mut gathering.nodes {
            let NodeState::Waiting { sent } = &mut node.state else {
                continue;
            };
            if sent.is_some_and(|sent| node.primary.is_self || sent.elapsed() < ASK_AGAIN) {
                continue;
            }
            *sent = Some(Instant::now());
            if node.primary.is_self {
                self.held_at_start = holds_slots(around.context, &node.primary.slots);
                let part = PartCall {
                    kind: PartKind::Map,
                    function: asked.function.clone(),
                    args: asked.args.clone(),
                    timeout: Some(timeout),
                    protocol,
                    user: caller_share::of_user(around.context, asked.user.as_deref()),
                };
                let (id, events) = (gathering.id, around.events.clone());
                let deliver = move |_, reply| events.tell_waiting(Event::Mapped { id, reply });
                match run(around, asked.user.as_deref(), asked.database, part, deliver) {
                    Ok(running) => self.running = Some(running),
                    Err(text) => node.state = NodeState::Failed(text),
                }
                continue;
            }
            let request = RunRequest {
                id: gathering.id,
                user: asked.user.clone(),
                database: asked.database,
                protocol,
                timeout,
                slots: node.primary.slots.clone(),
                function: asked.function.clone(),
                args: asked.args.clone(),
            };
            // A message that the server does not take is one that was lost.
            bus::send(
                around.context,
                Some(node.primary.id.as_bytes()),
                RUN,
                &request.encode(),
            );
        }
    }

    /// Gives the replies to the entry that gets them.
    fn reduce(
        &mut self,
        around: Surroundings<'_>,
        function: Vec<u8>,
        args: Vec<Vec<u8>>,
    ) -> Result<(), String> {
        self.gathering.is_reducing = true;
        let asked = &self.gathering.asked;
        let part = PartCall {
            kind: PartKind::Reduce,
            function,
            args,
            timeout: Some(self.gathering.time_left()),
            protocol: asked.protocol,
            user: caller_share::of_user(around.context, asked.user.as_deref()),
        };
        let (id, events) = (self.gathering.id, around.events.clone());
        let deliver = move |_, reply| events.tell_waiting(Event::Reduced { id, reply });
        let running = run(around, asked.user.as_deref(), asked.database, part, deliver)?;
        self.running = Some(running);
        Ok(())
    }

    /// Tells the other nodes that nothing is wanted of them any more.
    fn end_elsewhere(&self, around: Surroundings<'_>) {
        let message = encode_end(self.gathering.id);
        for node in &self.gathering.nodes {
            let was_asked = !matches!(node.state, NodeState::Waiting { sent: None });
            if was_asked && !node.primary.is_self {
                let id = node.primary.id.as_bytes();
                bus::send(around.context, Some(id), END, &message);
            }
        }
    }

    fn reply(self, reply: Vec<u8>) {
        let call = Arc::new(Call::new(Args::none(), self.gathering.asked.database));
        self.client.reply(call, reply);
    }
}

/// Runs a part of a call in the pool, on behalf of the user.
fn run(
    around: Surroundings<'_>,
    user: Option<&[u8]>,
    database: u32,
    part: PartCall,
    deliver: impl FnOnce(Arc<Call>, Vec<u8>) + Send + 'static,
) -> Result<CancelHandle, String> {
    let Surroundings {
        module, context, ..
    } = around;
    if let Err(error) = module.pool.prepare(module.options.threads) {
        return Err(format!("BUSY {error}; try again later"));
    }
    // Moved into the pool at once: dropping it takes the lock that this thread holds.
    let locked = locked_context_of_user(context, user.map(Into::into), database)
        .ok_or("BUSY the server gives no context for a call; try again later")?;
    let run = Run::without_command(&module.runtime, database, Job::Part(Box::new(part)));
    Ok(module.pool.run(run, locked, Box::new(deliver)))
}
