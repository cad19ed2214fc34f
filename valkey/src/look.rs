//! Does a read again, to compare what it sees.

use crate::commands_of_server::Format;
use crate::reads::{What, hash_of, hash_result};
use crate::server_data::{self, Server};

impl What {
    /// Reads again; a hash of what is seen.
    pub(crate) fn look(&self, server: Server<'_>) -> u64 {
        match self {
            Self::String(key) => {
                hash_result(&server_data::string(server, key, |bytes| hash_of(bytes)))
            }
            Self::Exists(key) => hash_result(&server_data::exists(server, key)),
            Self::Lifetime(key) => hash_result(&server_data::lifetime(server, key)),
            Self::Field(key, field) => {
                hash_result(&server_data::field(server, key, field, |bytes| {
                    hash_of(bytes)
                }))
            }
            Self::HashLen(key) => hash_result(&server_data::hash_len(server, key)),
            Self::Command(argv) => {
                let argv: Vec<&[u8]> = argv.iter().map(|word| &**word).collect();
                server_data::command(server.context, &argv, Format::Caller, |bytes| {
                    hash_of(bytes)
                })
                .map_or(0, |hash| hash)
            }
        }
    }
}
