//! Fills the store from a file of commands.

use std::path::Path;

use anyhow::{Result, bail};
use ferrite_protocol::keyspace::{Keyspace, Mode, Transaction};
use ferrite_protocol::resp::{Encoder, Protocol, RequestBounds, RequestScanner, Scan};
use ferrite_store::Store;

use crate::files::bounded_file;
use crate::reply;

/// The largest file of commands, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Runs every command of a file. Stops at the first error reply; the error names the line.
///
/// A file holds one command a line, with the quotes and escapes of `redis-cli`, or commands in
/// RESP, as `redis-cli --pipe` reads them. Blank lines and lines that start with `#` are skipped.
pub(super) fn load(path: &Path, store: &Store) -> Result<()> {
    let mut bytes = bounded_file::read(path, FILE_BYTES_MAX)?;
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    let mut scanner = RequestScanner::new(RequestBounds::default());
    let mut rest = bytes.as_slice();
    let mut line = 1;
    while !rest.is_empty() {
        let consumed = match scanner.scan(rest) {
            Ok(Scan::Complete { consumed }) => consumed,
            Ok(Scan::Incomplete { .. }) => bail!("line {line}: the command is cut off"),
            Err(error) => bail!("line {line}: {error}"),
        };
        let argv: Vec<&[u8]> = scanner.arguments(rest).collect();
        if argv.first().is_some_and(|name| !name.starts_with(b"#")) {
            succeed(store, &argv).map_err(|error| error.context(format!("line {line}")))?;
        }
        line += rest[..consumed]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        rest = &rest[consumed..];
    }
    Ok(())
}

/// Runs one command; fails if its reply is an error.
fn succeed(store: &Store, argv: &[&[u8]]) -> Result<()> {
    let mut encoder = Encoder::new(Protocol::Resp3);
    execute(store, argv, &mut encoder)?;
    if let Some(error) = reply::read(encoder.bytes())?.error() {
        bail!("{error}");
    }
    Ok(())
}

/// Runs one command; its reply goes to `encoder`.
///
/// # Errors
///
/// Fails if the store does.
pub(crate) fn execute(store: &Store, argv: &[&[u8]], encoder: &mut Encoder) -> Result<()> {
    let mut transaction = store.begin(0, Mode::Write);
    transaction.execute(argv, &|_| true, encoder);
    // The store is in memory, so there is no disk to wait for.
    drop(transaction.commit()?);
    Ok(())
}

/// Splits a command with the quotes and escapes of `redis-cli` into its words.
///
/// # Errors
///
/// Fails if a quote is open.
pub(crate) fn words(command: &str) -> Result<Vec<Vec<u8>>> {
    let line = format!("{command}\n");
    let mut scanner = RequestScanner::new(RequestBounds::default());
    match scanner.scan(line.as_bytes()) {
        Ok(Scan::Complete { .. }) => Ok(scanner
            .arguments(line.as_bytes())
            .map(<[u8]>::to_vec)
            .collect()),
        Ok(Scan::Incomplete { .. }) => bail!("the command is cut off"),
        Err(error) => bail!("{error}"),
    }
}
