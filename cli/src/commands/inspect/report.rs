//! The report of `inspect`.

use std::io::{self, Write};

use ferrite_cache::bundle::{KeyId, UtcTime};
use ferrite_cache::{
    Automation, Digest, EntryInfo, ExportKind, Fingerprint, ImportInfo, ModuleInfo, Rewind,
    RewindPlan, Target,
};
use ferrite_protocol::one_line::OneLine;
use serde::Serialize;

use super::requirements::Requirements;
use crate::platform::Platform;
use crate::terminal::console::Report;
use crate::terminal::units::{Bytes, Micros};

/// The description of the subject, by its kind.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Inspection {
    Source(Box<SourceReport>),
    Artifact(Box<ArtifactReport>),
    Bundle(Box<BundleReport>),
}

/// A module, binary or text.
#[derive(Serialize)]
pub(super) struct SourceReport {
    pub(super) source: Digest,
    pub(super) bytes: u64,
    /// Length of the text in bytes, if the module was given as text.
    pub(super) text_bytes: Option<u64>,
    /// The contents; none if the module would be refused.
    pub(super) module: Option<ModuleReport>,
    pub(super) refused: Vec<Refusal>,
    /// Its artifacts in the cache.
    pub(super) compiled: Vec<Compiled>,
}

/// A module's contents.
#[derive(Serialize)]
pub(super) struct ModuleReport {
    #[serde(flatten)]
    pub(super) info: ModuleInfo,
    pub(super) needs: Requirements,
}

/// One reason why a source would be refused.
#[derive(Serialize)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) offset: Option<u64>,
}

/// An artifact of the source in the cache.
#[derive(Serialize)]
pub(super) struct Compiled {
    pub(super) artifact: Digest,
    pub(super) bytes: u64,
    #[serde(flatten)]
    pub(super) platform: Platform,
    pub(super) profile: Fingerprint,
    pub(super) compile_micros: u64,
}

/// Native code.
#[derive(Serialize)]
pub(super) struct ArtifactReport {
    pub(super) artifact: Digest,
    pub(super) bytes: u64,
    pub(super) target: Option<Target>,
    pub(super) engine_version: Option<String>,
    // The next six are known only if the cache has the artifact's manifest.
    pub(super) profile: Option<Fingerprint>,
    pub(super) described: Option<String>,
    pub(super) source: Option<Digest>,
    pub(super) entries: Option<Vec<EntryInfo>>,
    pub(super) automation: Option<Automation>,
    pub(super) rewind: Option<Rewind>,
    /// Reason why this build would not load it on this machine, or `None`.
    pub(super) refused: Option<String>,
}

/// A bundle.
#[derive(Serialize)]
pub(super) struct BundleReport {
    pub(super) bytes: u64,
    /// Digest of the manifest, which is what gets signed.
    pub(super) manifest: Digest,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: Option<String>,
    pub(super) sequence: u64,
    pub(super) created_unix: u64,
    pub(super) expires_unix: Option<u64>,
    pub(super) isolation: Option<String>,
    pub(super) permissions: Option<serde_json::Value>,
    pub(super) limits: Option<serde_json::Value>,
    /// The key that the signature names; the signature was not checked.
    pub(super) signed_by: Option<KeyId>,
    pub(super) comment: Option<String>,
    pub(super) source: Digest,
    pub(super) source_bytes: u64,
    pub(super) artifacts: Vec<ArtifactInBundle>,
    pub(super) module: ModuleReport,
}

/// Native code in a bundle.
#[derive(Serialize)]
pub(super) struct ArtifactInBundle {
    pub(super) artifact: Digest,
    pub(super) bytes: u64,
    #[serde(flatten)]
    pub(super) platform: Platform,
    pub(super) profile: Fingerprint,
    /// Reason why this release would not load it on any machine, or `None`.
    pub(super) refused: Option<String>,
}

impl Report for Inspection {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Source(source) => source.text(out),
            Self::Artifact(artifact) => artifact.text(out),
            Self::Bundle(bundle) => bundle.text(out),
        }
    }
}

impl SourceReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        line(out, "source", &self.source.to_string())?;
        let size = Bytes(self.bytes);
        match self.text_bytes {
            Some(text) => line(
                out,
                "size",
                &format!("{size}, from {} of text", Bytes(text)),
            )?,
            None => line(out, "size", &size.to_string())?,
        }
        if let Some(module) = &self.module {
            module.text(out)?;
        }
        for compiled in &self.compiled {
            line(
                out,
                "compiled",
                &format!(
                    "for {} (profile {}): {}, in {}",
                    compiled.platform,
                    compiled.profile,
                    Bytes(compiled.bytes),
                    Micros(compiled.compile_micros)
                ),
            )?;
        }
        for refusal in &self.refused {
            line(
                out,
                "refused",
                &format!("{}: {}", refusal.code, refusal.message),
            )?;
        }
        Ok(())
    }
}

impl BundleReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let release = format!("{} {}, sequence {}", self.name, self.version, self.sequence);
        line(out, "function", &release)?;
        if let Some(description) = &self.description {
            line(out, "described", &shown(description))?;
        }
        line(out, "size", &Bytes(self.bytes).to_string())?;
        line(out, "created", &UtcTime(self.created_unix).to_string())?;
        if let Some(expires) = self.expires_unix {
            line(out, "expires", &UtcTime(expires).to_string())?;
        }
        let asked = |value: &Option<serde_json::Value>| match value {
            Some(json) => json.to_string(),
            None => "the server's default".to_owned(),
        };
        line(
            out,
            "asks for",
            &format!("permissions {}", asked(&self.permissions)),
        )?;
        line(out, "asks for", &format!("limits {}", asked(&self.limits)))?;
        if let Some(isolation) = &self.isolation {
            line(out, "asks for", &format!("isolation {}", shown(isolation)))?;
        }
        match self.signed_by {
            Some(key) => line(
                out,
                "signature",
                &format!("by key {key}, to be checked with `verify`"),
            )?,
            None => line(out, "unsigned", "no server loads it before `sign`")?,
        }
        let source = format!("{}  {}", self.source, Bytes(self.source_bytes));
        line(out, "source", &source)?;
        for artifact in &self.artifacts {
            let refused = match &artifact.refused {
                Some(reason) => format!("  (not loaded by this release: {reason})"),
                None => String::new(),
            };
            line(
                out,
                "artifact",
                &format!(
                    "for {} (profile {}): {}{refused}",
                    artifact.platform,
                    artifact.profile,
                    Bytes(artifact.bytes)
                ),
            )?;
        }
        self.module.text(out)
    }
}

impl ModuleReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { info, needs } = self;
        if let Some(name) = &info.name {
            line(out, "name", &shown(name))?;
        }
        let functions = format!("{} in {} of code", info.functions, Bytes(info.code_len));
        line(out, "functions", &functions)?;
        for entry in &info.entries {
            line(out, "entry", &entry_text(entry))?;
        }
        declares(out, &info.automation)?;
        if let Some(limits) = &info.limits {
            line(
                out,
                "limits",
                &format!(
                    "{}, where a server's are lower",
                    shown(limits).replace("\\\"", "\"")
                ),
            )?;
        }
        for export in &info.exports {
            let name = shown(&export.name);
            if info.entries.iter().any(|entry| entry.name == export.name) {
                continue;
            }
            let kind = match &export.kind {
                ExportKind::Function(signature) => signature.to_string(),
                ExportKind::Memory => "a memory".to_owned(),
                ExportKind::Table => "a table".to_owned(),
                ExportKind::Global => "a global".to_owned(),
            };
            line(out, "export", &format!("{name}  {kind}"))?;
        }
        for import in &info.imports {
            let ImportInfo {
                module,
                name,
                signature,
            } = import;
            line(out, "import", &format!("{module}.{name}  {signature}"))?;
        }
        let first: Vec<&str> = [
            (info.start, "its start function"),
            (info.initialize, "`_initialize`"),
        ]
        .into_iter()
        .filter_map(|(runs, what)| runs.then_some(what))
        .collect();
        if !first.is_empty() {
            line(out, "runs first", &first.join(" and "))?;
        }
        line(out, "isolation", &rewind_text(&info.rewind))?;
        needs.text(out)
    }
}

impl Requirements {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            memory_bytes,
            memory_bytes_max,
            table_elements,
            reads,
            writes,
            commands,
            requests,
            imports_all,
            requests_named,
            files,
            wasi,
        } = self;
        let memory = match memory_bytes_max {
            Some(max) => format!(
                "{} of memory, growing to {} at most",
                Bytes(*memory_bytes),
                Bytes(*max)
            ),
            None => format!("{} of memory at first", Bytes(*memory_bytes)),
        };
        line(out, "needs", &memory)?;
        if *table_elements > 0 {
            line(out, "needs", &format!("{table_elements} table elements"))?;
        }
        if *imports_all {
            let network = match requests_named {
                None => ", `allow_network`",
                Some(_) => "",
            };
            let text = format!(
                "keys to read, `allow_write`, commands{network}: its interpreter imports all host \
                 functions, and the program uses some"
            );
            line(out, "may need", &text)?;
        }
        if let Some(names) = requests_named.as_ref().filter(|names| !names.is_empty()) {
            let text = format!("`allow_network` (the source names {})", names.join(", "));
            line(out, "needs", &text)?;
        }
        if !reads.is_empty() && !imports_all {
            line(
                out,
                "needs",
                &format!("keys to read ({})", reads.join(", ")),
            )?;
        }
        if !writes.is_empty() && !imports_all {
            line(
                out,
                "needs",
                &format!("`allow_write` ({})", writes.join(", ")),
            )?;
        }
        if *commands && !imports_all {
            line(out, "needs", "the commands that it calls by name (call)")?;
        }
        if *requests && !imports_all {
            line(out, "needs", "`allow_network` (http)")?;
        }
        if *files {
            line(out, "may need", "`allow_filesystem` (path_open)")?;
        }
        if !wasi.is_empty() {
            line(
                out,
                "needs",
                &format!("WASI, without sockets ({})", wasi.join(", ")),
            )?;
        }
        Ok(())
    }
}

impl ArtifactReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        line(out, "artifact", &self.artifact.to_string())?;
        line(out, "size", &Bytes(self.bytes).to_string())?;
        if let Some(target) = self.target {
            line(out, "target", target.triple())?;
        }
        if let Some(version) = &self.engine_version {
            line(out, "engine", version)?;
        }
        if let (Some(profile), Some(described)) = (&self.profile, &self.described) {
            line(out, "profile", &format!("{profile}: {described}"))?;
        }
        if let Some(source) = &self.source {
            line(out, "source", &source.to_string())?;
        }
        for entry in self.entries.iter().flatten() {
            line(out, "entry", &entry_text(entry))?;
        }
        if let Some(automation) = &self.automation {
            declares(out, automation)?;
        }
        if let Some(rewind) = &self.rewind {
            line(out, "isolation", &rewind_text(rewind))?;
        }
        match &self.refused {
            Some(reason) => line(out, "refused", reason),
            None => line(out, "loads", "on this machine, by this release"),
        }
    }
}

/// Shows the triggers and schedules that a module declares.
fn declares(out: &mut dyn Write, automation: &Automation) -> io::Result<()> {
    automation
        .lines()
        .try_for_each(|text| line(out, "declares", &OneLine(&text).to_string()))
}

fn entry_text(entry: &EntryInfo) -> String {
    let name = shown(&entry.name);
    format!("{name}  {}  {}", entry.kind, entry.signature)
}

/// Describes the isolation that the module's instances can have.
fn rewind_text(rewind: &Rewind) -> String {
    match rewind {
        Rewind::Allowed(RewindPlan {
            globals,
            start: _,
            offsets: _,
        }) => {
            let mut text = "rewind".to_owned();
            match globals {
                0 => {}
                1 => text.push_str("; restores 1 global"),
                count => text.push_str(&format!("; restores {count} globals")),
            }
            text
        }
        Rewind::Refused { reason } => format!("fresh instead of rewind, because {reason}"),
    }
}

/// A name from a module, with control characters escaped, which could change the terminal.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

fn line(out: &mut dyn Write, word: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{word:<10}  {text}")
}
