//! `EXEC` as one optimistic transaction, for queued requests among which functions are called.
//!
//! [`Store::begin_multi`] is faster, but holds locks until it ends, which a function may not.

use ferrite_protocol::keyspace::{Keyspace as _, Mode};
use ferrite_protocol::resp::ReplyWriter;

use crate::api::data_command::DataCommand;
use crate::api::session::Session;
use crate::api::store::Store;
use crate::error::StoreError;
use crate::transaction::Transaction;
use crate::transaction::view::TransactionView;

impl Store {
    /// Begins a transaction in the client's database. Its commit may find a conflict; then all
    /// requests have to run again in another one.
    pub fn begin_exec(&self, session: &Session) -> Transaction {
        self.begin(session.database, Mode::Write)
    }

    /// Begins a transaction whose commit finds no conflict, as soon as that is possible.
    pub fn begin_exec_exclusive(
        &self,
        session: &Session,
    ) -> impl Future<Output = Transaction> + Send + use<> {
        let core = self.core.clone();
        Transaction::begin_exclusive(core, session.database, Mode::Write)
    }
}

impl Session {
    /// Ends an `EXEC` that ran in `database` at last, or that did not run because a watched key had
    /// changed: the client watches no keys any more.
    pub fn end_exec(&mut self, database: u32) {
        self.watched.clear();
        self.database = database;
    }
}

impl Transaction {
    /// Returns true if the keys that the client watches are as they were, and makes the commit
    /// depend on them.
    ///
    /// # Errors
    /// [`StoreError::Conflict`]: begin again.
    pub fn watched_stand(&mut self, session: &Session) -> Result<bool, StoreError> {
        let own = self.database();
        for ((database, key), version) in &session.watched {
            self.set_database(*database);
            let seen = self.version(key);
            self.set_database(own);
            if seen? != *version {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Runs a request of `command` and writes its one reply, which may be an error.
    pub fn execute_command(
        &mut self,
        command: DataCommand,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) {
        let outcome = command.checked(argv).and_then(|command| {
            if command.spec().is_write() {
                self.core.check_writable()?;
                command.spec().check_memory(&self.core)?;
            }
            let view = &mut TransactionView::new(self, &|_| true, None);
            let outcome = command.run_in_transaction(view, argv, out);
            self.name_events(command.spec().name, argv);
            outcome
        });
        if let Err(error) = outcome {
            out.error(&error.to_string());
        }
    }

    /// Selects another database, as `SELECT` does.
    ///
    /// # Errors
    /// The error that `SELECT` answers if the argument is not the number of a database.
    pub fn select(&mut self, database: &[u8]) -> Result<(), StoreError> {
        self.set_database(crate::commands::keys::database_argument(database)?);
        Ok(())
    }
}
