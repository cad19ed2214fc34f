//! Triggers that run before a commit, and can refuse it.

use std::sync::atomic::{AtomicU64, Ordering};

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::keyspace::{CommitError, Keyspace, Mode, Transaction};
use ferrite_protocol::resp::{Encoder, Protocol};

use super::Runtime;
use crate::automation::clock::now_millis;
use crate::automation::reply::error_of;
use crate::automation::trigger::event::{HeldValue, QueuedEvent};
use crate::automation::trigger::table::{ActiveTrigger, DEPTH_MAX};
use crate::call::outer_transaction::OuterTransaction;
use crate::call::request::{CallOutcome, CallRequest, OPTIMISTIC_TRIES_MAX, ReceiptOf};
use crate::error::{CallError, Code};
use crate::executor::call::Surroundings;
use crate::executor::function::Function;
use crate::policy::files::kept::PendingFiles;
use crate::registry::record::FunctionName;

/// Reason why a transaction must not be committed: the error that its client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// The answer of one trigger to an event.
enum Answer {
    Accepted,
    /// The error that the client gets.
    Refused(String),
    /// The trigger has no function that could be asked; the error for the client if it stays so.
    NoFunction(String),
    /// The transaction has met a conflict.
    Lost,
}

impl<K: Keyspace> Runtime<K> {
    /// Returns true if triggers may refuse writes, so that the host has to run [`Runtime::guard`] before
    /// it commits.
    #[must_use]
    #[inline]
    pub fn has_guards(&self) -> bool {
        self.0.triggers.has_guards()
    }

    /// Returns true if a trigger may refuse to write this key, in some database.
    #[must_use]
    pub fn guards_key(&self, key: &[u8]) -> bool {
        self.0.triggers.guard_key(key)
    }

    /// Runs the triggers that may refuse what a transaction of the host has written so far. What their
    /// functions write is a part of the transaction, and is looked at as well.
    ///
    /// If the transaction has met a conflict, the result means nothing, and the host begins again.
    ///
    /// # Errors
    ///
    /// A trigger refuses, or its function fails: nothing of the transaction may be committed.
    pub async fn guard(
        &self,
        transaction: &OuterTransaction<K::Transaction>,
    ) -> Result<(), Refusal> {
        let mut from = 0;
        for depth in 0.. {
            let mut caused: Vec<QueuedEvent> = Vec::new();
            let triggers = &self.0.triggers;
            let seen = transaction.with(|transaction| {
                transaction.events(from, &mut |event| {
                    if !triggers.guard_event(event) {
                        return;
                    }
                    caused.push(QueuedEvent {
                        trigger: Box::default(),
                        database: event.database,
                        key: event.key.into(),
                        event: event.name.into(),
                        depth,
                        at: now_millis(),
                        old: HeldValue::of(event.old),
                        new: HeldValue::of(event.new),
                        error: Box::default(),
                    });
                })
            });
            if caused.is_empty() {
                return Ok(());
            }
            if depth >= DEPTH_MAX {
                return Err(Refusal(format!(
                    "LIMIT {DEPTH_MAX} triggers in a row wrote what triggers the next one, which is the limit"
                )));
            }
            from = seen.unwrap_or(from);
            for event in caused {
                self.guard_event(&event, transaction).await?;
                if transaction.is_lost() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Asks every trigger that may refuse an event.
    async fn guard_event(
        &self,
        event: &QueuedEvent,
        transaction: &OuterTransaction<K::Transaction>,
    ) -> Result<(), Refusal> {
        let triggers = &self.0.triggers;
        let mut asked: Vec<FunctionName> = Vec::new();
        let mut missing_at = None;
        while let Some(trigger) = triggers.next_guard(event, &asked) {
            match self.ask(&trigger, event, transaction).await {
                Answer::Refused(error) => {
                    trigger.figures.note_failure(&error);
                    return Err(Refusal(error));
                }
                Answer::Lost => return Ok(()),
                Answer::Accepted => {
                    trigger.figures.delivered.fetch_add(1, Ordering::Relaxed);
                    asked.push(trigger.trigger.name.clone());
                    missing_at = None;
                }
                // Perhaps the function is just being loaded or unloaded together with its trigger. Once that is
                // over, either both are there or none.
                Answer::NoFunction(error) => {
                    let switches = Some(triggers.switches());
                    if missing_at == switches && triggers.is_active(&trigger) {
                        trigger.figures.events.fetch_add(1, Ordering::Relaxed);
                        trigger.figures.note_failure(&error);
                        return Err(Refusal(error));
                    }
                    missing_at = switches;
                }
            }
        }
        Ok(())
    }

    /// Asks one trigger.
    async fn ask(
        &self,
        trigger: &ActiveTrigger,
        event: &QueuedEvent,
        transaction: &OuterTransaction<K::Transaction>,
    ) -> Answer {
        let at = event.at.to_string();
        let name = &trigger.trigger.name;
        let may_read = |type_name: &str| self.may_read(&trigger.trigger, type_name);
        let args = event.args(name, b"0", b"1", at.as_bytes(), &may_read);
        let keys = [&*event.key];
        let request = CallRequest {
            database: event.database,
            ..CallRequest::new(&trigger.trigger.function.0, &keys, &args)
        };
        let mut reply = Encoder::new(Protocol::Resp3);
        let database = transaction.with(|transaction| transaction.switch_database(event.database));
        let joined = self.call_within(&request, transaction, &mut reply).await;
        if let Some(database) = database {
            transaction.with(|transaction| transaction.switch_database(database));
        }
        if transaction.is_lost() {
            return Answer::Lost;
        }
        let missing = joined
            .error()
            .is_some_and(|error| error.code() == Code::NoFunction);
        let error = error_of(reply.bytes());
        if let (true, Some(error)) = (missing, error.clone()) {
            return Answer::NoFunction(error);
        }
        let _counted = joined.count(1);
        trigger.figures.events.fetch_add(1, Ordering::Relaxed);
        error.map_or(Answer::Accepted, Answer::Refused)
    }

    /// Runs a call in a transaction that triggers may refuse, and commits it.
    pub(super) async fn call_guarded(
        &self,
        function: &Function<K>,
        entry: Option<&[u8]>,
        request: &CallRequest<'_>,
        dropped: &AtomicU64,
        reply: &mut Encoder,
    ) -> CallOutcome<ReceiptOf<K>> {
        let start = reply.len();
        let keyspace = self.keyspace();
        let (mut tries, mut fuel) = (0, 0_u64);
        let mut files_turn = None;
        loop {
            if tries == OPTIMISTIC_TRIES_MAX
                && let Some(kept) = &function.spec().kept
            {
                files_turn = Some(kept.turn().await);
            }
            let transaction = if tries < OPTIMISTIC_TRIES_MAX {
                keyspace.begin(request.database, Mode::Write)
            } else {
                let begun = keyspace.begin_exclusive(request.database, Mode::Write);
                begun.await
            };
            tries += 1;
            let outer = OuterTransaction::new(transaction);
            let files = PendingFiles::default();
            let surroundings = Surroundings {
                outer: Some(&outer),
                files: Some(&files),
                responses: None,
                dropped,
            };
            let executor = &self.0.executor;
            let mut outcome = executor
                .call(function, entry, request, surroundings, reply)
                .await;
            fuel = fuel.saturating_add(outcome.fuel);
            outcome.fuel = fuel;
            outcome.tries = tries;
            if outer.is_lost() {
                reply.truncate(start);
                continue;
            }
            if outcome.error.is_some() {
                return outcome;
            }
            let guarded = self.guard(&outer).await;
            if outer.is_lost() {
                reply.truncate(start);
                continue;
            }
            let Some(transaction) = outer.take() else {
                reply.truncate(start);
                continue;
            };
            let error = match guarded {
                Err(Refusal(text)) => {
                    reply.truncate(start);
                    reply.error(&text);
                    let text = format!("a trigger refused what the call wrote: {text}");
                    outcome.error = Some(CallError::new(Code::NoPermission, text));
                    return outcome;
                }
                Ok(()) => match files.commit(files_turn.is_some(), || transaction.commit()) {
                    Ok(receipt) => {
                        outcome.receipt = Some(receipt);
                        return outcome;
                    }
                    Err(CommitError::Conflict) => {
                        reply.truncate(start);
                        continue;
                    }
                    Err(error) => CallError::new(Code::Store, ErrorChain(&error).to_string()),
                },
            };
            reply.truncate(start);
            reply.error_display(&error);
            outcome.error = Some(error);
            return outcome;
        }
    }
}
