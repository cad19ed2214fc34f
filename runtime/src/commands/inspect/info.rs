//! `WASM.INFO`: shows everything about a function.

use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::scheduling::moment::Moment;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.INFO",
    arity: 2,
    flags: &["readonly"],
    keys: Keys::None,
    right: Right::Inspect,
    runs: Runs::AtOnce,
    summary: "Tells a function's permissions, limits, code, calls and errors.",
    syntax: "name",
    parse,
};

/// Request for everything about a function.
#[derive(Clone, Debug)]
pub struct Info<'a>(pub(in crate::commands) &'a [u8]);

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Info(Info(argv[1])))
}

impl Info<'_> {
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let registered = runtime.function(self.0)?;
        let record = registered.record();
        let stats = registered.stats().snapshot();
        let isolation = record.isolation.unwrap_or(runtime.options().isolation);
        let mut fields = Fields::new(reply);
        fields.text("name", record.name.as_str());
        fields.maybe_text("description", record.description.as_deref());
        fields.text("digest", record.digest.to_string());
        fields.maybe_text("file", record.file.as_deref());
        if let Some(release) = &record.release {
            fields.map("bundle", |fields| {
                fields.text("version", &*release.version);
                fields.count("sequence", release.sequence);
                fields.text("signed_by", release.key.to_string());
                fields.count("created_unix", release.created_unix);
                if let Some(expires) = release.expires_unix {
                    fields.count("expires_unix", expires);
                }
            });
        }
        fields.text("isolation", isolation.as_str());
        // The effective isolation is known only once the code is loaded.
        let effective_isolation = registered
            .function()
            .map(|function| function.effective_isolation());
        fields.maybe_text(
            "isolation_in_force",
            effective_isolation.as_ref().map(|it| it.isolation.as_str()),
        );
        fields.maybe_text(
            "isolation_reason",
            effective_isolation
                .as_ref()
                .and_then(|it| it.reason.as_deref()),
        );
        fields.text("permissions", record.permissions.to_json());
        // Show the limits in force, not the requested ones.
        match runtime.limits().of(&record.limits) {
            Ok(limits) => fields.text("limits", limits.to_json()),
            Err(error) => fields.text("limits", error.to_string()),
        }
        // Values may be secret.
        fields.with("config", |reply| {
            reply.array(record.config.names().len());
            record
                .config
                .names()
                .for_each(|name| reply.bulk(name.as_bytes()));
        });
        if let Some(declared) = record.declared() {
            let lines: Vec<_> = declared.lines().collect();
            fields.with("declares", |reply| {
                reply.array(lines.len());
                lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
            });
        }
        let function = registered.function();
        fields.with("loaded", |reply| reply.bool(function.is_some()));
        if let Some(function) = function {
            let manifest = function.manifest();
            fields.text("profile", manifest.profile.to_string());
            fields.count("source_bytes", manifest.source_len);
            fields.count("artifact_bytes", manifest.artifact_len);
            // The artifact is then that of an engine, which others may share.
            if let Some(image) = &manifest.image {
                fields.text("engine", image.engine.to_string());
                fields.count("image_bytes", image.len);
            }
            fields.count("compile_micros", manifest.compile_micros);
            fields.with("entries", |reply| {
                reply.array(manifest.module.entries.len());
                for entry in &manifest.module.entries {
                    reply.bulk(entry.name.as_bytes());
                }
            });
        }
        let running = registered.running();
        // Calls may still run on code from before a change.
        if function.is_some() || !running.is_empty() {
            let now = Moment::now();
            fields.with("running_calls", |reply| {
                reply.array(running.len());
                for call in running {
                    let mut fields = Fields::new(reply);
                    fields.text("id", call.id.to_string());
                    fields.micros("running_us", Some(now.since(call.since)));
                    fields.finish(reply);
                }
            });
        }
        if let Some(function) = function {
            let usage = registered.usage();
            fields.count("running", usage.running as u64);
            fields.count("waiting", usage.waiting as u64);
            fields.count("idle_instances", usage.idle as u64);
            fields.count("idle_memory_bytes", function.idle_memory_bytes());
        }
        fields.count("calls", stats.calls);
        fields.count("errors", stats.errors);
        fields.map("errors_by_code", |fields| {
            for (code, count) in &stats.errors_by_code {
                fields.count(code.as_str(), *count);
            }
        });
        fields.count("retries", stats.retries);
        fields.count("fuel", stats.fuel);
        fields.micros("p50_us", stats.p50);
        fields.micros("p99_us", stats.p99);
        let last = registered.stats().last_error();
        fields.maybe_text(
            "last_error",
            last.map(|error| format!("{} {}", error.code, error.text)),
        );
        fields.finish(reply);
        Ok(())
    }
}
