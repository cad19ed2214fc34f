//! Credentials for a registry, from the environment or from `docker login`.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::files::bounded_file;

/// The environment variables for name and password. No option takes a password, because other users
/// can read a process's arguments.
const USER: &str = "FERRITE_REGISTRY_USER";
const PASSWORD: &str = "FERRITE_REGISTRY_PASSWORD";

/// Largest docker configuration that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Credentials for a registry.
pub(crate) enum Credentials {
    Anonymous,
    User { name: String, password: String },
}

/// The part of docker's configuration that holds credentials.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: HashMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    /// Base64 of `name:password`; missing if a credential helper of docker keeps it.
    auth: Option<String>,
}

impl Credentials {
    /// Returns the credentials for a registry.
    pub(super) fn of(registry: &str) -> Result<Self> {
        match (std::env::var(USER), std::env::var(PASSWORD)) {
            (Ok(name), Ok(password)) => Ok(Self::User { name, password }),
            (Err(_), Err(_)) => Ok(Self::from_docker(registry).unwrap_or(Self::Anonymous)),
            _ => bail!("{USER} and {PASSWORD} belong together; one is missing"),
        }
    }

    /// Returns what `docker login` stored, if its file can be read.
    fn from_docker(registry: &str) -> Option<Self> {
        let folder = std::env::var_os("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
        let text = bounded_file::read(&folder.join("config.json"), FILE_BYTES_MAX).ok()?;
        parse(&text, registry)
    }

    pub(super) fn auth(&self) -> RegistryAuth {
        match self {
            Self::Anonymous => RegistryAuth::Anonymous,
            Self::User { name, password } => RegistryAuth::Basic(name.clone(), password.clone()),
        }
    }
}

fn parse(text: &[u8], registry: &str) -> Option<Credentials> {
    let config: DockerConfig = serde_json::from_slice(text).ok()?;
    let auth = config.auths.get(registry)?.auth.as_deref()?;
    let pair = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some(Credentials::User {
        name: name.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Credentials, parse};

    #[test]
    fn logins_of_docker_are_understood() {
        let text =
            br#"{"auths": {"ghcr.io": {"auth": "bWU6c2VjOnJldA=="}, "quay.io": {}}, "x": 1}"#;
        let Some(Credentials::User { name, password }) = parse(text, "ghcr.io") else {
            panic!("there is one");
        };
        assert_eq!((name.as_str(), password.as_str()), ("me", "sec:ret"));
        assert!(parse(text, "quay.io").is_none());
        assert!(parse(text, "example.com").is_none());
        assert!(parse(b"[]", "ghcr.io").is_none());
    }
}
