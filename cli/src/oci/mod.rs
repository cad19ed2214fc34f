//! Bundles in OCI registries: one artifact, one layer, the bundle as it is.
//!
//! The registry is not trusted: the client checks the layer's digest, and the caller checks the
//! bundle's own signature, which is inside the bundle.

mod credentials;
mod limited_writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_cache::bundle::BundleManifest;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciImageManifest;
use oci_client::{Client, Reference};

use crate::terminal::console::MissingError;
use credentials::Credentials;
use limited_writer::LimitedWriter;

/// Type of the artifact, for people and tools that browse the registry.
const ARTIFACT_TYPE: &str = "application/vnd.ferrite.wasm.bundle.v1";

/// Media type of the one layer, which is the bundle itself.
const LAYER_TYPE: &str = "application/vnd.ferrite.wasm.bundle.v1.tar";

/// An empty configuration, which OCI requires.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// Largest bundle that is pulled, in bytes.
const BUNDLE_BYTES_MAX: u64 = 4 << 30;

/// An artifact's name in a registry, with a client and credentials for that registry.
pub(crate) struct Registry {
    client: Client,
    credentials: Credentials,
    reference: Reference,
    waiting: tokio::runtime::Runtime,
}

impl Registry {
    /// Makes a client for `reference`, such as `ghcr.io/team/rate:1.2.0`. The reference must name
    /// its registry: there is no default.
    ///
    /// Connections use TLS, except to registries on this machine. With `plain_http` none does.
    pub(crate) fn new(reference: &str, plain_http: bool) -> Result<Self> {
        if !names_registry(reference) {
            bail!(
                "{reference}: names no registry; write it whole, such as ghcr.io/team/rate:1.2.0 or docker.io/team/rate:1.2.0"
            );
        }
        let reference: Reference = reference
            .parse()
            .map_err(|error| anyhow!("{reference}: not the name of an artifact: {error}; write REGISTRY/NAME:TAG, the name in lower case, such as ghcr.io/team/rate:1.2.0"))?;
        // Fails only if a provider is installed already, and that one is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = reference.resolve_registry();
        let protocol = if plain_http || is_loopback(host) {
            ClientProtocol::HttpsExcept(vec![host.to_owned()])
        } else {
            ClientProtocol::Https
        };
        let config = ClientConfig {
            protocol,
            user_agent: concat!("ferrite-wasmc/", env!("CARGO_PKG_VERSION")),
            // A bundle is not an image for one platform.
            platform_resolver: None,
            ..ClientConfig::default()
        };
        Ok(Self {
            client: Client::try_from(config).context("no client for registries")?,
            credentials: Credentials::of(host)?,
            waiting: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            reference,
        })
    }

    /// The artifact's full name.
    pub(crate) fn name(&self) -> String {
        self.reference.whole()
    }

    /// Pushes a bundle and returns the digest by which it can be pulled.
    pub(crate) fn push(&self, manifest: &BundleManifest, bundle: Vec<u8>) -> Result<String> {
        let title = format!("{}-{}.cwasm.tar", manifest.name, manifest.version);
        let named = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, value)| (format!("org.opencontainers.image.{name}"), (*value).into()))
                .collect()
        };
        let layer = ImageLayer::new(
            bundle,
            LAYER_TYPE.to_owned(),
            Some(named(&[("title", &title)])),
        );
        let config = Config::new(EMPTY, EMPTY_TYPE.to_owned(), None);
        let mut facts = vec![("version", manifest.version.as_str())];
        facts.extend(
            manifest
                .description
                .as_deref()
                .map(|text| ("description", text)),
        );
        let layers = [layer];
        let mut artifact = OciImageManifest::build(&layers, &config, Some(named(&facts)));
        artifact.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        let (client, place, auth) = (&self.client, &self.reference, self.credentials.auth());
        self.waiting.block_on(async {
            client
                .push(place, &layers, config, &auth, Some(artifact))
                .await
                .with_context(|| format!("cannot push to {place}"))?;
            client
                .fetch_manifest_digest(place, &auth)
                .await
                .with_context(|| format!("{place} was pushed and cannot be found"))
        })
    }

    /// Pulls a bundle into a file and returns the digest of its artifact.
    pub(crate) fn pull(&self, into: &mut File) -> Result<String> {
        let (client, place, auth) = (&self.client, &self.reference, self.credentials.auth());
        self.waiting.block_on(async {
            let (artifact, digest) =
                client
                    .pull_image_manifest(place, &auth)
                    .await
                    .map_err(|error| {
                        if is_missing(&error) {
                            let text = format!(
                                "{place} is not there: the registry knows no such name or tag"
                            );
                            return anyhow!(MissingError(text));
                        }
                        anyhow::Error::new(error).context(format!("cannot pull {place}"))
                    })?;
            let [layer] = &artifact.layers[..] else {
                bail!(
                    "{place} is no bundle: it has {} layers",
                    artifact.layers.len()
                );
            };
            if layer.media_type != LAYER_TYPE {
                bail!(
                    "{place} is no bundle: its layer is `{}`, and a bundle's is `{LAYER_TYPE}`",
                    layer.media_type.escape_debug()
                );
            }
            let bytes = u64::try_from(layer.size).unwrap_or(u64::MAX);
            if bytes > BUNDLE_BYTES_MAX {
                bail!("{place} has {bytes} bytes, more than the limit of {BUNDLE_BYTES_MAX}");
            }
            client
                .pull_blob(place, layer, LimitedWriter::new(into, bytes))
                .await
                .with_context(|| format!("cannot pull the bundle of {place}"))?;
            Ok(digest)
        })
    }
}

/// Returns true if a registry says that it has no such name, tag or digest.
fn is_missing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ImageManifestNotFoundError(_)
        | OciDistributionError::ServerError { code: 404, .. } => true,
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| {
                matches!(
                    error.code,
                    OciErrorCode::ManifestUnknown
                        | OciErrorCode::NameUnknown
                        | OciErrorCode::NotFound
                )
            })
        }
        _ => false,
    }
}

/// Reads the whole bundle file, for pushing.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    crate::files::bounded_file::read(path, BUNDLE_BYTES_MAX)
        .with_context(|| path.display().to_string())
}

/// Returns true if a reference begins with the address of a registry: a name with a dot or a port,
/// or
/// `localhost`. OCI clients tell an address from a part of a path by this rule.
fn names_registry(reference: &str) -> bool {
    reference
        .split_once('/')
        .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

/// Returns true if a registry, given as its host with or without a port, is on this machine.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, names_registry};

    #[test]
    fn a_registry_is_named() {
        for named in [
            "ghcr.io/team/rate:1.2.0",
            "localhost/rate",
            "registry:5000/rate",
            "[::1]:5000/rate@sha256:00",
        ] {
            assert!(names_registry(named), "{named}");
        }
        for unnamed in ["rate", "rate:1.2.0", "team/rate:1.2.0"] {
            assert!(!names_registry(unnamed), "{unnamed}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for registry in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
        ] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in [
            "ghcr.io",
            "localhost.example.com",
            "10.0.0.1:5000",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }
}
