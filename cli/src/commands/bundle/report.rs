//! The report of `bundle`.

use std::io::{self, Write};
use std::path::PathBuf;

use ferrite_cache::bundle::{KeyId, UtcTime};
use ferrite_cache::{Digest, Fingerprint};
use ferrite_protocol::one_line::OneLine;
use serde::Serialize;

use crate::platform::Platform;
use crate::terminal::console::Report;
use crate::terminal::units::Bytes;

/// A bundle that was written.
#[derive(Serialize)]
pub(super) struct BundleReport {
    pub(super) bundle: PathBuf,
    pub(super) bytes: u64,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sequence: u64,
    pub(super) created_unix: u64,
    pub(super) expires_unix: Option<u64>,
    /// Digest of the manifest, which is what gets signed.
    pub(super) manifest: Digest,
    pub(super) source: Digest,
    pub(super) source_bytes: u64,
    pub(super) artifacts: Vec<ArtifactReport>,
    pub(super) signed_by: Option<KeyId>,
    /// Triggers and schedules that servers add with the function.
    pub(super) declares: Vec<String>,
}

/// Native code for one profile.
#[derive(Serialize)]
pub(super) struct ArtifactReport {
    #[serde(flatten)]
    pub(super) platform: Platform,
    pub(super) profile: Fingerprint,
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

impl Report for BundleReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.bundle.display())?;
        writeln!(
            out,
            "  function  {} {}, sequence {}",
            self.name, self.version, self.sequence
        )?;
        writeln!(
            out,
            "  source    {}  {}",
            self.source,
            Bytes(self.source_bytes)
        )?;
        for artifact in &self.artifacts {
            writeln!(
                out,
                "  artifact  for {}  {}",
                artifact.platform,
                Bytes(artifact.bytes)
            )?;
        }
        for text in &self.declares {
            writeln!(out, "  declares  {}", OneLine(text))?;
        }
        if let Some(expires) = self.expires_unix {
            writeln!(out, "  expires   {}", UtcTime(expires))?;
        }
        match self.signed_by {
            Some(key) => writeln!(out, "  signed    by key {key}"),
            None => writeln!(out, "  unsigned  no server loads it before `sign`"),
        }
    }
}
