//! The server as the runtime's keyspace.

pub(crate) mod any_command;
pub(crate) mod apply;
pub(crate) mod call;
pub(crate) mod command_table;
pub(crate) mod commit;
pub(crate) mod cost;
pub(crate) mod current_call;
pub(crate) mod inverse_command;
pub(crate) mod journal;
pub(crate) mod permit;
pub(crate) mod read_set;
pub(crate) mod server_reads;
pub(crate) mod typed_ops;
pub(crate) mod undo_log;
pub(crate) mod write_set;

use std::future::Future;
use std::sync::Arc;

use ferrite_protocol::budget::{Budget, Exceeded};
use ferrite_protocol::events::EventSink;
use ferrite_protocol::keyspace::{
    CommandAccess, CommitError, DescribeError, Keyspace, Mode, SetCondition, SetExpiry, StoreError,
    Transaction, Ttl,
};
use ferrite_protocol::record::Record;
use ferrite_protocol::resp::Encoder;

use crate::api::command_call::RunError;
use crate::api::ffi;
use crate::records::{self, capture};
use crate::transaction::call::{Call, CallState, outside_of_call};
use crate::transaction::typed_ops::CallView;

/// The data of the server that loaded the module.
#[derive(Clone, Copy)]
pub(crate) struct ServerKeyspace;

/// One call's transaction. What the call has read and written is in the current call, not here.
pub(crate) struct ServerTransaction {
    call: CallId,
    /// True until it is committed or rolled back.
    open: bool,
}

/// Identifies a call while it lasts: its address, which is never dereferenced. `None` outside of a
/// call.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CallId(Option<usize>);

impl CallId {
    fn of(call: &Arc<Call>) -> Self {
        Self(Some(Arc::as_ptr(call).addr()))
    }
}

impl Keyspace for ServerKeyspace {
    type Transaction = ServerTransaction;

    fn begin(&self, _database: u32, mode: Mode) -> ServerTransaction {
        // The call's state is empty: an earlier transaction of the call was committed or rolled
        // back, which clears it.
        let call = current_call::with(|current| {
            if let Ok(mut state) = current.state.try_borrow_mut() {
                state.reads_latest = mode == Mode::ReadLatest;
                state.undivided = false;
            }
            CallId::of(current.call)
        });
        ServerTransaction {
            call: call.unwrap_or(CallId(None)),
            open: true,
        }
    }

    fn begin_exclusive(
        &self,
        database: u32,
        mode: Mode,
    ) -> impl Future<Output = ServerTransaction> + Send {
        current_call::with(|current| current.keep_lock());
        std::future::ready(self.begin(database, mode))
    }

    fn describe(&self, argv: &[&[u8]]) -> Result<CommandAccess, DescribeError> {
        let described = current_call::with(|current| {
            // Off the main thread, the context costs the server's lock.
            let asks = current.is_on_main_thread() || command_table::needs_server(argv);
            asks.then(|| {
                current.with_context(|context| command_table::describe(Some(context), argv))
            })
        });
        described
            .flatten()
            .unwrap_or_else(|| command_table::describe(None, argv))
    }

    fn is_command(&self, name: &[u8]) -> bool {
        command_table::is_command(name)
    }

    fn keeps_records(&self) -> bool {
        true
    }

    /// There are none outside of a call: until the server has loaded its data.
    fn records(
        &self,
        prefix: &[u8],
        after: &[u8],
        count: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let read = current_call::with(|current| {
            current.with_context(|context| records::read(context, prefix, after, count))
        });
        read.unwrap_or_else(|| Ok(Vec::new()))
            .map_err(|error| unreadable(&error))
    }

    /// Asks the server itself, which may have it no more, or again.
    fn record(&self, name: &[u8]) -> Result<Option<Box<[u8]>>, StoreError> {
        let read = current_call::with(|current| {
            current.with_context(|context| records::read_one(context, name))
        });
        match read {
            Some(read) => read.map_err(|error| unreadable(&error)),
            None => Err(outside_of_call()),
        }
    }

    fn partition_of(&self, key: &[u8]) -> u16 {
        current_call::with(|current| {
            current.with_context(|context| records::queue::part_of_key(context, key))
        })
        .unwrap_or(0)
    }

    fn set_event_sink(&self, sink: Arc<dyn EventSink>) -> bool {
        capture::set_sink(sink);
        true
    }

    fn send_events(&self, send: bool) {
        capture::send(send);
    }

    fn definitions_may_lag(&self) -> bool {
        current_call::with(|current| {
            current.with_context(|context| context.flags() & ffi::CTX_CLUSTER != 0)
        })
        .unwrap_or(false)
    }
}

fn unreadable(error: &RunError) -> StoreError {
    StoreError::Failed(error.to_string().into())
}

impl ServerTransaction {
    fn with_view<R>(
        &mut self,
        access: impl FnOnce(&mut CallView<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let name = self.call;
        with_view_if(|call| CallId::of(call) == name, access)
            .unwrap_or_else(|| Err(outside_of_call()))
    }

    fn end(&mut self) {
        // A call is ended inside of `current_call::enter`; without that no data can be reached.
        let _ = self.with_view(|view| {
            view.roll_back();
            Ok(())
        });
    }
}

/// Gives `access` the view of the call that is polled on this thread. Returns `None` if there is no
/// call.
pub(crate) fn with_view<R>(access: impl FnOnce(&mut CallView<'_>) -> R) -> Option<R> {
    with_view_if(|_| true, access)
}

/// The same, but returns `None` if the call is not the one that is `meant`.
#[inline]
fn with_view_if<R>(
    meant: impl FnOnce(&Arc<Call>) -> bool,
    access: impl FnOnce(&mut CallView<'_>) -> R,
) -> Option<R> {
    current_call::with(|current| {
        if !meant(current.call) {
            return None;
        }
        current.with_context(|context| {
            let mut state = current.state.try_borrow_mut().ok()?;
            Some(access(&mut CallView {
                call: current.call,
                state: &mut state,
                context,
                on_main_thread: current.is_on_main_thread(),
            }))
        })
    })
    .flatten()
}

/// Gives `access` the state of the call that is polled on this thread, without the server's lock. Returns
/// `None` if the call is not the one that is `meant`.
fn with_state_if<R>(
    meant: impl FnOnce(&Arc<Call>) -> bool,
    access: impl FnOnce(&CallState) -> R,
) -> Option<R> {
    current_call::with(|current| {
        let state = meant(current.call).then(|| current.state.try_borrow().ok())?;
        state.map(|state| access(&state))
    })
    .flatten()
}

impl Transaction for ServerTransaction {
    type Receipt = ();

    fn now_millis(&mut self) -> i64 {
        self.with_view(|view| Ok(view.now())).unwrap_or(0)
    }

    #[inline]
    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        self.with_view(|view| view.get(key, read))
    }

    #[inline]
    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError> {
        self.with_view(|view| view.set(key, value, condition, expiry))
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.with_view(|view| view.delete(key))
    }

    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.with_view(|view| view.exists(key))
    }

    #[inline]
    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, StoreError> {
        self.with_view(|view| view.increment(key, delta))
    }

    fn expire(&mut self, key: &[u8], ttl_millis: i64) -> Result<bool, StoreError> {
        self.with_view(|view| view.expire(key, ttl_millis))
    }

    fn ttl(&mut self, key: &[u8]) -> Result<Ttl, StoreError> {
        self.with_view(|view| view.ttl(key))
    }

    fn hash_get<R>(
        &mut self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        self.with_view(|view| view.hash_get(key, field, read))
    }

    fn hash_set(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        self.with_view(|view| view.hash_set(key, field, value))
    }

    fn hash_delete(&mut self, key: &[u8], field: &[u8]) -> Result<bool, StoreError> {
        self.with_view(|view| view.hash_delete(key, field))
    }

    fn call(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<(), Exceeded> {
        let start = reply.len();
        let called = self.with_view(|view| Ok(view.call(argv, visible, budget, reply)));
        match called {
            Ok(Ok(())) => Ok(()),
            Ok(Err(exceeded)) => {
                reply.truncate(start);
                Err(exceeded)
            }
            Err(error) => {
                reply.truncate(start);
                reply.error_display(&format_args!("ERR {error}"));
                Ok(())
            }
        }
    }

    /// No other client is served until the main thread is done with the call.
    fn set_undivided(&mut self) {
        let _ = self.with_view(|view| {
            view.state.undivided = view.on_main_thread;
            Ok(())
        });
    }

    fn change_record(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        self.with_view(|view| view.change_record(name, value))
    }

    fn require_record(&mut self, name: &[u8]) -> Result<(), StoreError> {
        self.with_view(|view| {
            view.require_record(name);
            Ok(())
        })
    }

    fn lock_for_commit(&mut self) {
        current_call::with(|current| current.keep_lock());
    }

    fn set_event_depth(&mut self, depth: u32) {
        let _ = self.with_view(|view| {
            view.state.event_depth = depth;
            Ok(())
        });
    }

    fn is_lost(&self) -> bool {
        let name = self.call;
        with_view_if(|call| CallId::of(call) == name, |view| view.state.conflict).unwrap_or(true)
    }

    /// A mark is possible at the start alone, to which the call then returns.
    fn set_savepoint(&mut self) -> bool {
        self.with_view(|view| Ok(view.state.is_unwritten()))
            .unwrap_or(false)
    }

    fn roll_back(&mut self) {
        let _ = self.with_view(|view| {
            let depth = view.state.event_depth;
            view.roll_back();
            view.state.event_depth = depth;
            Ok(())
        });
    }

    fn take_extra_work(&mut self) -> u64 {
        let name = self.call;
        with_state_if(
            |call| CallId::of(call) == name,
            |state| state.extra_work.take(),
        )
        .unwrap_or(0)
    }

    fn commit_work(&self) -> u64 {
        let name = self.call;
        with_state_if(|call| CallId::of(call) == name, CallState::work_to_commit).unwrap_or(0)
    }

    fn commit(mut self) -> Result<(), CommitError> {
        let mut result = Err(CommitError::Store(outside_of_call()));
        let visited = self.with_view(|view| {
            result = view.commit();
            Ok(())
        });
        if visited.is_ok() && result.is_ok() {
            self.open = false;
            current_call::with(|current| current.release_lock());
        }
        // Dropping `self` rolls back what was not committed.
        result
    }
}

/// Rolls back a transaction that was not committed.
impl Drop for ServerTransaction {
    fn drop(&mut self) {
        if self.open {
            self.end();
            current_call::with(|current| current.release_lock());
        }
    }
}
