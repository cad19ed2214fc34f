//! Secure connections to a server.

use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::address::Address;
use crate::tls::TlsOptions;

/// Makes a connection secure.
///
/// # Errors
///
/// Fails if a file cannot be read or used, or if the server's certificate is not to be trusted.
pub(super) fn handshake(
    options: &TlsOptions,
    address: &Address,
    stream: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(address.host.clone())
        .with_context(|| format!("no certificate can be for `{}`", address.host))?;
    let mut connection = ClientConnection::new(Arc::new(options.config()?), name)?;
    let mut stream = stream;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut stream)
            .with_context(|| format!("no secure connection to {address}"))?;
    }
    Ok(StreamOwned::new(connection, stream))
}
