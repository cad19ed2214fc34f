//! TLS to a server: whom to trust, and as whom to sign in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::terminal::console::UsageError;

/// Options for an address that begins with `rediss://`. They are named as those of redis-cli.
#[derive(Debug, clap::Args)]
pub(crate) struct TlsOptions {
    /// Trust only the certificate authorities of this PEM file. Default: those of the system
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// The client's certificate, for a server that asks for one: a PEM file
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of the client's certificate: a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl TlsOptions {
    /// Trusts the authorities of a file, or else those of the system, and signs in as nobody.
    pub(crate) const fn trusting(cacert: Option<PathBuf>) -> Self {
        Self {
            cacert,
            cert: None,
            key: None,
        }
    }

    /// Checks that the options belong to an address with TLS.
    ///
    /// # Errors
    ///
    /// Fails if there are options of TLS for an address without it: they would protect nothing.
    pub(crate) fn check(&self, tls: bool) -> Result<()> {
        let Self { cacert, cert, key } = self;
        if !tls && (cacert.is_some() || cert.is_some() || key.is_some()) {
            bail!(UsageError(
                "--cacert, --cert and --key are for TLS; begin the server's address with rediss://"
                    .to_owned()
            ));
        }
        Ok(())
    }

    /// Returns the options again, which redis-cli takes, too.
    pub(crate) fn words(&self) -> Vec<String> {
        let Self { cacert, cert, key } = self;
        [("--cacert", cacert), ("--cert", cert), ("--key", key)]
            .into_iter()
            .filter_map(|(option, file)| {
                Some([option.to_owned(), file.as_ref()?.display().to_string()])
            })
            .flatten()
            .collect()
    }

    /// Returns the settings of secure connections.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or used.
    pub(crate) fn config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match &self.cacert {
            None => builder.with_platform_verifier().context(
                "the system's certificate authorities cannot be read; name some with --cacert",
            )?,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots
                        .add(authority)
                        .with_context(|| format!("{} cannot be used", path.display()))?;
                }
                builder.with_root_certificates(roots)
            }
        };
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(cert)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("cannot read a private key from {}", key.display()))?;
        builder
            .with_client_auth_cert(chain, private)
            .with_context(|| format!("{} and {} cannot be used", cert.display(), key.display()))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let chain =
        read().with_context(|| format!("cannot read certificates from {}", path.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(chain)
}
