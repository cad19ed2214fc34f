//! A data command that the caller has already found, so running it needs no lookup.

use std::fmt;

use crate::api::session::Session;
use crate::api::store::{Flow, Store};
use crate::commands::spec::{Command, CommandSpec};
use crate::commands::table;
use crate::error::StoreError;
use ferrite_protocol::keyspace::KeyAccess;
use ferrite_protocol::resp::ReplyWriter;

/// A data command, for a host with its own command table.
#[derive(Clone, Copy)]
pub struct DataCommand(&'static Command);

impl fmt::Debug for DataCommand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.spec().name)
    }
}

impl DataCommand {
    /// Every data command, each once.
    pub fn all() -> impl Iterator<Item = Self> {
        table::commands().map(Self)
    }

    /// Finds a command by its name, in any case.
    pub fn find(name: &[u8]) -> Option<Self> {
        table::find(name).map(Self)
    }

    /// The command's name, arity, flags and keys.
    pub fn spec(self) -> &'static CommandSpec {
        self.0.spec()
    }

    /// The keys of a request of this command.
    ///
    /// # Errors
    /// [`StoreError::Arity`], or the error for an unknown subcommand.
    pub fn keys(self, argv: &[&[u8]]) -> Result<KeyAccess, StoreError> {
        self.checked(argv)?.spec().access(argv)
    }

    /// Returns the command's implementation if the request has its shape.
    pub(crate) fn checked(self, argv: &[&[u8]]) -> Result<&'static Command, StoreError> {
        self.spec().check_shape(argv)?;
        Ok(self.0)
    }
}

impl Store {
    /// Runs a request of `command` and writes its one reply, which may be an error. Does the same
    /// as [`Store::execute`], without the lookup by name.
    pub fn execute_command(
        &self,
        command: DataCommand,
        session: &mut Session,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) -> Flow {
        self.run(command.checked(argv), session, argv, out)
    }
}
