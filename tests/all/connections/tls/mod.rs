//! TLS, with and without clients' certificates.

pub(crate) mod authority;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use ferrite_tests::Server;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring,
};

use authority::{Authority, Identity, write};

/// Sends PING over TLS; returns the reply, or `None` if the server refuses the handshake.
fn ping(server: &Server, authority: &Authority, own: Option<&Identity>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain: Vec<CertificateDer<'static>> = vec![own.certificate.der().clone()];
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.key.serialize_der()));
            builder
                .with_client_auth_cert(chain, key)
                .expect("an identity")
        }
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let socket = TcpStream::connect(server.address_of("tls")).expect("it listens");
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(b"PING\r\n").ok()?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).ok()?;
    Some(String::from_utf8_lossy(&reply).into_owned())
}

#[test]
fn clients_speak_over_tls() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    write(dir.path(), &authority, &authority.identity("localhost"));
    let server = Server::builder()
        .dir(dir.path())
        .arguments(&[
            "--tls-port",
            "0",
            "--tls-cert",
            "cert.pem",
            "--tls-key",
            "key.pem",
        ])
        .start();
    assert_eq!(
        ping(&server, &authority, None).as_deref(),
        Some("+PONG\r\n")
    );
    assert_eq!(
        server.client().run("PING").text(),
        Some("PONG"),
        "the plain port serves as well"
    );
    // A client without TLS does not stop the server.
    let mut plain = ferrite_tests::Client::connect(server.address_of("tls"));
    let _ = plain.try_send(b"PING\r\n");
    assert_eq!(
        ping(&server, &authority, None).as_deref(),
        Some("+PONG\r\n")
    );
    assert_eq!(
        ping(&server, &Authority::new(), None),
        None,
        "the client checks the server"
    );
}

#[test]
fn clients_show_certificates_where_they_must() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    write(dir.path(), &authority, &authority.identity("localhost"));
    let server = Server::builder()
        .dir(dir.path())
        .config(
            "[server]\ntls_port = 0\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n\
             tls_client_ca = \"ca.pem\"\n",
        )
        .start();
    let known = authority.identity("client");
    let stranger = Authority::new().identity("client");
    assert_eq!(
        ping(&server, &authority, Some(&known)).as_deref(),
        Some("+PONG\r\n")
    );
    assert_eq!(ping(&server, &authority, Some(&stranger)), None);
    assert_eq!(ping(&server, &authority, None), None);
}

#[test]
fn files_that_are_no_certificates_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("cert.pem"), "nonsense").expect("written");
    let log = Server::builder()
        .dir(dir.path())
        .arguments(&[
            "--tls-port",
            "0",
            "--tls-cert",
            "cert.pem",
            "--tls-key",
            "key.pem",
        ])
        .try_start()
        .expect_err("it must refuse");
    assert!(log.contains("cert.pem holds no certificate"), "{log}");
}
