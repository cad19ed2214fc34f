//! Sets TLS up: reads certificates and keys from files, and demands client certificates if configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use crate::config::Config;

/// Reason why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, or is not PEM of the right kind.
    #[error("{key}: cannot read {what} from {}", path.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The expected contents.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("{key}: {} holds no certificate", path.display())]
    Empty {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("server.tls_cert and server.tls_key cannot be used")]
    Identity(#[source] rustls::Error),
    /// An authority's certificate cannot be used.
    #[error("server.tls_client_ca cannot be used")]
    Authority(#[source] rustls::Error),
    /// An authority's certificate for the engine cannot be used.
    #[error("upstream.ca cannot be used")]
    EngineAuthority(#[source] rustls::Error),
    /// The system has no certificates of authorities.
    #[error("the system has no certificates of authorities; set upstream.ca")]
    NoAuthorities,
    /// Client certificates cannot be checked.
    #[error("server.tls_client_ca cannot be used")]
    Verifier(#[source] VerifierBuilderError),
}

/// Returns the acceptor of TLS connections; `None` if the configuration has no certificate.
pub(crate) fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, TlsError> {
    let (Some(cert), Some(key)) = (&config.server.tls_cert, &config.server.tls_key) else {
        return Ok(None);
    };
    let chain = certificates("server.tls_cert", &config.below_dir(cert))?;
    let path = config.below_dir(key);
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|source| TlsError::File {
        key: "server.tls_key",
        what: "a private key",
        path,
        source,
    })?;
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?;
    let builder = match &config.server.tls_client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("server.tls_client_ca", &config.below_dir(path))? {
                roots.add(authority).map_err(TlsError::Authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(TlsError::Verifier)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let server = builder
        .with_single_cert(chain, key)
        .map_err(TlsError::Identity)?;
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

/// Returns the settings of TLS to the engine: the authorities of `upstream.ca`, or of the system.
pub(crate) fn client(config: &Config) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match &config.upstream.ca {
        Some(path) => {
            for authority in certificates("upstream.ca", &config.below_dir(path))? {
                roots.add(authority).map_err(TlsError::EngineAuthority)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::EngineAuthority)?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File {
        key,
        what: "certificates",
        path: path.to_owned(),
        source,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if chain.is_empty() {
        return Err(TlsError::Empty {
            key,
            path: path.to_owned(),
        });
    }
    Ok(chain)
}
