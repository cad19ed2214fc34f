//! Reads permissions and limits from command-line options.

use anyhow::{Result, bail};
use ferrite_runtime::policy::limits::LimitSettings;
use ferrite_runtime::policy::permissions::Permissions;

use crate::terminal::console::UsageError;

/// Reads the value of `--permissions`: JSON, or the name of a predefined set.
pub(crate) fn parse_permissions(text: &str) -> Result<Permissions> {
    if text.trim_start().starts_with('{') {
        return Permissions::from_json(text.as_bytes())
            .map_err(|error| UsageError(format!("--permissions: {error}")).into());
    }
    match Permissions::named(text) {
        Some(permissions) => Ok(permissions),
        None => bail!(UsageError(format!(
            "--permissions: `{}` is neither JSON nor one of {}",
            text.escape_debug(),
            Permissions::NAMES.join(", ")
        ))),
    }
}

/// Reads the value of `--limits`, which is JSON.
pub(crate) fn parse_limits(json: &str) -> Result<LimitSettings> {
    LimitSettings::from_json(json.as_bytes())
        .map_err(|error| UsageError(format!("--limits: {error}")).into())
}
