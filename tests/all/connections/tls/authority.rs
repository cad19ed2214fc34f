//! Certificates for tests.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};

/// A certificate authority for the test, which can sign certificates.
pub(crate) struct Authority(pub(super) CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        // Not the authority's own, by which OpenSSL would take it for self-signed.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        Identity { certificate, key }
    }
}

/// Writes `ca.pem`, and the server's `cert.pem` and `key.pem`.
pub(crate) fn write(dir: &Path, authority: &Authority, server: &Identity) {
    for (name, text) in [
        ("ca.pem", authority.0.pem()),
        ("cert.pem", server.certificate.pem()),
        ("key.pem", server.key.serialize_pem()),
    ] {
        std::fs::write(dir.join(name), text).expect("written");
    }
}
