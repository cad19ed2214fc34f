//! Does a read again, to compare what it sees.

use crate::api::command_call::Format;
use crate::transaction::read_set::{ReadKind, hash_of, hash_result};
use crate::transaction::server_reads::{self, Server};

impl ReadKind {
    /// Reads again; a hash of what is seen.
    pub(crate) fn revalidate(&self, server: Server<'_>) -> u64 {
        match self {
            Self::String(key) => {
                hash_result(&server_reads::string(server, key, |bytes| hash_of(bytes)))
            }
            Self::Exists(key) => hash_result(&server_reads::exists(server, key)),
            Self::Lifetime(key) => hash_result(&server_reads::lifetime(server, key)),
            Self::Field(key, field) => {
                hash_result(&server_reads::field(server, key, field, |bytes| {
                    hash_of(bytes)
                }))
            }
            Self::HashLen(key) => hash_result(&server_reads::hash_len(server, key)),
            Self::Command(argv) => {
                let argv: Vec<&[u8]> = argv.iter().map(|word| &**word).collect();
                server_reads::command(server.context, &argv, Format::Caller, |bytes| {
                    hash_of(bytes)
                })
                .map_or(0, |hash| hash)
            }
        }
    }
}
