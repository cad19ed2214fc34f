//! The password of a secret key: from the environment or from a prompt, never from an argument.

use anyhow::{Context, Result, bail};

/// The environment variable that holds the password; empty for no password.
pub(crate) const VARIABLE: &str = "FERRITE_KEY_PASSWORD";

/// Returns the password of an existing key. `file` names the key in the prompt.
pub(crate) fn existing(file: &str) -> Result<String> {
    match from_environment()? {
        Some(password) => Ok(password),
        None => prompt(&format!("Password of {file}: ")),
    }
}

/// Returns the password for a new key, empty for none. The prompt asks twice. `file` names the key
/// in the prompt.
pub(crate) fn new(file: &str) -> Result<String> {
    if let Some(password) = from_environment()? {
        return Ok(password);
    }
    let password = prompt(&format!("Password for {file} (empty for none): "))?;
    if prompt("Repeat the password: ")? != password {
        bail!("the two passwords differ; nothing was written");
    }
    Ok(password)
}

fn from_environment() -> Result<Option<String>> {
    match std::env::var(VARIABLE) {
        Ok(password) => Ok(Some(password)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{VARIABLE} is not UTF-8"),
    }
}

fn prompt(text: &str) -> Result<String> {
    rpassword::prompt_password(text).with_context(|| {
        format!("no password: there is no terminal to ask on, and {VARIABLE} is not set")
    })
}
