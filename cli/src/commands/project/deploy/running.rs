//! The function of the same name that a server runs now.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ferrite_cache::Digest;
use ferrite_compiler::SourceLimits;
use ferrite_runtime::error::Code;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::LimitSettings;
use ferrite_runtime::policy::permissions::Permissions;

use super::connection::Connection;
use crate::commands::diff::input::DiffInput;
use crate::reply::Value;

/// A function as `WASM.INFO` describes it.
pub(super) struct Running {
    pub(super) source: Digest,
    permissions: Permissions,
    limits: LimitSettings,
    isolation: Isolation,
}

impl Running {
    /// Asks the server; `None` if it has no such function.
    ///
    /// # Errors
    ///
    /// Fails if the server refuses, or says something that this release does not know.
    pub(super) fn of(name: &str, connection: &mut Connection) -> Result<Option<Self>> {
        let reply = connection.command(&[b"WASM.INFO", name.as_bytes()])?;
        if reply.has_code(Code::NoFunction.as_str()) {
            return Ok(None);
        }
        if let Some(error) = reply.error() {
            bail!("the server does not say what {name} may do now: {error}");
        }
        let Value::Array(fields) = reply else {
            bail!("the server does not say what {name} may do now");
        };
        let text = |wanted: &str| {
            let mut pairs = fields.chunks_exact(2);
            let found = pairs.find_map(|pair| match pair {
                [Value::Bulk(field), Value::Bulk(text)] if field == wanted.as_bytes() => {
                    String::from_utf8(text.clone()).ok()
                }
                _ => None,
            });
            found.with_context(|| format!("WASM.INFO {name} has no field {wanted}"))
        };
        Ok(Some(Self {
            source: text("digest")?.parse()?,
            permissions: Permissions::from_json(text("permissions")?.as_bytes())?,
            // The server gives the reason instead, if the limits are no longer allowed; such a function
            // cannot run.
            limits: LimitSettings::from_json(text("limits")?.as_bytes()).unwrap_or_default(),
            isolation: text("isolation")?.parse()?,
        }))
    }

    /// Returns it as one side of a comparison. Without its source, its module counts as the new one.
    ///
    /// # Errors
    ///
    /// Fails if the source is no module.
    pub(super) fn as_input(&self, source: Option<&[u8]>, new: &DiffInput) -> Result<DiffInput> {
        let module = match source {
            Some(wasm) => ferrite_compiler::describe(wasm, &SourceLimits::default())?,
            None => new.module.clone(),
        };
        Ok(DiffInput {
            file: PathBuf::new(),
            source: self.source,
            module,
            permissions: self.permissions.clone(),
            limits: self.limits.clone(),
            isolation: Some(self.isolation),
            release: None,
        })
    }
}
