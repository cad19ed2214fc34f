//! The server as the runtime's keyspace.

pub(crate) mod any_command;
pub(crate) mod apply;
pub(crate) mod call;
pub(crate) mod command_table;
pub(crate) mod commit;
pub(crate) mod current_call;
pub(crate) mod inverse_command;
pub(crate) mod journal;
pub(crate) mod read_kind;
pub(crate) mod read_set;
pub(crate) mod server_reads;
pub(crate) mod typed_ops;
pub(crate) mod undo_log;
pub(crate) mod write_set;

use std::future::Future;
use std::sync::Arc;

use ferrite_protocol::keyspace::{
    CommandAccess, CommitError, DescribeError, Keyspace, Mode, SetCondition, SetExpiry, StoreError,
    Transaction, Ttl,
};
use ferrite_protocol::resp::Encoder;

use crate::transaction::call::{Call, nowhere};
use crate::transaction::typed_ops::Session;

/// The data of the server that the module is loaded into.
#[derive(Clone, Copy)]
pub(crate) struct ServerKeyspace;

/// One call's view of it. What it has read and written is lent to it with the call's place.
pub(crate) struct ServerTransaction {
    call: CallName,
    /// Whether it was neither committed nor rolled back.
    open: bool,
}

/// What a call is known by while it lasts; no other that lasts has the same. It is the call's
/// address, never followed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CallName(Option<usize>);

impl CallName {
    fn of(call: &Arc<Call>) -> Self {
        Self(Some(Arc::as_ptr(call).addr()))
    }
}

impl Keyspace for ServerKeyspace {
    type Transaction = ServerTransaction;

    fn begin(&self, _database: u32, _mode: Mode) -> ServerTransaction {
        // It has forgotten what an earlier transaction of the call did: that one was committed or
        // rolled back.
        ServerTransaction {
            call: current_call::with(|place| CallName::of(place.call)).unwrap_or(CallName(None)),
            open: true,
        }
    }

    fn begin_exclusive(
        &self,
        database: u32,
        mode: Mode,
    ) -> impl Future<Output = ServerTransaction> + Send {
        current_call::with(|place| place.hold());
        std::future::ready(self.begin(database, mode))
    }

    fn describe(&self, argv: &[&[u8]]) -> Result<CommandAccess, DescribeError> {
        current_call::with(|place| {
            place.enter(|context| command_table::describe(Some(context), argv))
        })
        .unwrap_or_else(|| command_table::describe(None, argv))
    }

    fn is_command(&self, name: &[u8]) -> bool {
        command_table::is_command(name)
    }
}

impl ServerTransaction {
    fn visit<R>(
        &mut self,
        access: impl FnOnce(&mut Session<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let name = self.call;
        visit_if(|call| CallName::of(call) == name, access).unwrap_or_else(|| Err(nowhere()))
    }

    fn roll_back(&mut self) {
        // Whoever ends a call gives it a place; without one there is nothing to do it with.
        let _ = self.visit(|session| {
            session.roll_back();
            Ok(())
        });
    }
}

/// Visits the data of the call that is polled on this thread; `None` where there is none.
pub(crate) fn visit<R>(access: impl FnOnce(&mut Session<'_>) -> R) -> Option<R> {
    visit_if(|_| true, access)
}

/// The same if it is the call that is `meant`.
#[inline]
fn visit_if<R>(
    meant: impl FnOnce(&Arc<Call>) -> bool,
    access: impl FnOnce(&mut Session<'_>) -> R,
) -> Option<R> {
    current_call::with(|place| {
        if !meant(place.call) {
            return None;
        }
        place.enter(|context| {
            let mut state = place.state.try_borrow_mut().ok()?;
            Some(access(&mut Session {
                call: place.call,
                state: &mut state,
                context,
                main: place.is_main(),
            }))
        })
    })
    .flatten()
}

impl Transaction for ServerTransaction {
    type Receipt = ();

    fn now_millis(&mut self) -> i64 {
        self.visit(|session| Ok(session.now())).unwrap_or(0)
    }

    #[inline]
    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        self.visit(|session| session.get(key, read))
    }

    #[inline]
    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError> {
        self.visit(|session| session.set(key, value, condition, expiry))
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.visit(|session| session.delete(key))
    }

    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.visit(|session| session.exists(key))
    }

    #[inline]
    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, StoreError> {
        self.visit(|session| session.increment(key, delta))
    }

    fn expire(&mut self, key: &[u8], ttl_millis: i64) -> Result<bool, StoreError> {
        self.visit(|session| session.expire(key, ttl_millis))
    }

    fn ttl(&mut self, key: &[u8]) -> Result<Ttl, StoreError> {
        self.visit(|session| session.ttl(key))
    }

    fn hash_get<R>(
        &mut self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        self.visit(|session| session.hash_get(key, field, read))
    }

    fn hash_set(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        self.visit(|session| session.hash_set(key, field, value))
    }

    fn hash_delete(&mut self, key: &[u8], field: &[u8]) -> Result<bool, StoreError> {
        self.visit(|session| session.hash_delete(key, field))
    }

    fn call(&mut self, argv: &[&[u8]], visible: &dyn Fn(&[u8]) -> bool, reply: &mut Encoder) {
        let start = reply.len();
        let called = self.visit(|session| {
            session.call(argv, visible, reply);
            Ok(())
        });
        if let Err(error) = called {
            reply.truncate(start);
            reply.error_display(&format_args!("ERR {error}"));
        }
    }

    fn commit(mut self) -> Result<(), CommitError> {
        let mut result = Err(CommitError::Store(nowhere()));
        let visited = self.visit(|session| {
            result = session.commit();
            Ok(())
        });
        if visited.is_ok() && result.is_ok() {
            self.open = false;
            current_call::with(|place| place.let_go());
        }
        // What was not committed is rolled back now.
        result
    }
}

/// A transaction that was not committed leaves nothing.
impl Drop for ServerTransaction {
    fn drop(&mut self) {
        if self.open {
            self.roll_back();
            current_call::with(|place| place.let_go());
        }
    }
}
