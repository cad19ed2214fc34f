//! The server as the runtime's keyspace.

use std::future::Future;
use std::sync::Arc;

use ferrite_runtime::keyspace::{
    CommandAccess, CommitError, DescribeError, Keyspace, Mode, SetCondition, SetExpiry, StoreError,
    Transaction, Ttl,
};
use ferrite_runtime::resp::Encoder;

use crate::call::{Call, nowhere};
use crate::place;
use crate::session::Session;
use crate::table;

/// The data of the server that the module is loaded into.
pub(crate) struct ServerKeyspace;

/// One call's view of it. What it has read and written is kept with the call.
pub(crate) struct ServerTransaction {
    call: Option<Arc<Call>>,
}

impl Keyspace for ServerKeyspace {
    type Transaction = ServerTransaction;

    fn begin(&self, _database: u32, _mode: Mode) -> ServerTransaction {
        let call = place::with(|place| Arc::clone(place.call));
        if let Some(call) = &call {
            call.state.lock().restart();
        }
        ServerTransaction { call }
    }

    fn begin_exclusive(
        &self,
        database: u32,
        mode: Mode,
    ) -> impl Future<Output = ServerTransaction> + Send {
        place::with(|place| place.hold());
        std::future::ready(self.begin(database, mode))
    }

    fn describe(&self, argv: &[&[u8]]) -> Result<CommandAccess, DescribeError> {
        place::with(|place| place.enter(|context| table::describe(Some(context), argv)))
            .unwrap_or_else(|| table::describe(None, argv))
    }

    fn is_command(&self, name: &[u8]) -> bool {
        table::is_command(name)
    }
}

impl ServerTransaction {
    fn visit<R>(
        &mut self,
        access: impl FnOnce(&mut Session<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let Some(call) = &self.call else {
            return Err(nowhere());
        };
        visit(call, access).unwrap_or_else(|| Err(nowhere()))
    }
}

/// Visits the data of a call that is polled on this thread; `None` where it is over, or not here.
pub(crate) fn visit<R>(call: &Arc<Call>, access: impl FnOnce(&mut Session<'_>) -> R) -> Option<R> {
    place::with(|place| {
        let main = place.is_main();
        place.enter(|context| {
            let mut state = call.state.lock();
            if state.closed {
                return None;
            }
            Some(access(&mut Session {
                call,
                state: &mut state,
                context,
                main,
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
        let Some(call) = self.call.take() else {
            return Err(CommitError::Store(nowhere()));
        };
        let result = visit(&call, |session| session.commit())
            .unwrap_or_else(|| Err(CommitError::Store(nowhere())));
        if result.is_err() {
            visit(&call, |session| session.roll_back());
        }
        place::with(|place| place.let_go());
        result
    }
}

/// A transaction that was not committed leaves nothing.
impl Drop for ServerTransaction {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            visit(&call, |session| session.roll_back());
            place::with(|place| place.let_go());
        }
    }
}
