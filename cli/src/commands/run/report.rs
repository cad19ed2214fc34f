//! The report of `run`.

use std::io::{self, Write};

use ferrite_cache::Digest;
use serde::Serialize;

use super::profile::ProfileReport;
use crate::reply::{self, Value};
use crate::terminal::console::Report;

/// The result of a call.
#[derive(Serialize)]
pub(super) struct CallReport {
    pub(super) source: Digest,
    /// True if the cache held the code before.
    pub(super) cached: bool,
    pub(super) reply: Value,
    /// Reason why the call failed, or `None` if the function itself replied an error.
    pub(super) error: Option<Failure>,
    /// The last access that the permissions refused.
    pub(super) denied: Option<String>,
    pub(super) fuel: u64,
    /// Duration of the call without loading the function.
    pub(super) micros: u64,
    /// The profile, with `--profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<ProfileReport>,
}

/// Reason why a call failed.
#[derive(Serialize)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Report for CallReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(reply::text::format(&self.reply).as_bytes())?;
        match &self.profile {
            Some(profile) => profile.text(out),
            None => Ok(()),
        }
    }
}
