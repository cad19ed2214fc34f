//! Fills the store from a file of commands.

use std::path::Path;

use anyhow::{Result, bail};
use ferrite_protocol::keyspace::{Keyspace, Mode, Transaction};
use ferrite_protocol::resp::{Encoder, Protocol, RequestBounds, RequestScanner, Scan};
use ferrite_store::Store;

use super::reply;
use crate::files::bounded_file;

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
            execute(store, &argv).map_err(|error| error.context(format!("line {line}")))?;
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
fn execute(store: &Store, argv: &[&[u8]]) -> Result<()> {
    let mut transaction = store.begin(0, Mode::Write);
    let mut encoder = Encoder::new(Protocol::Resp3);
    transaction.call(argv, &|_| true, &mut encoder);
    if let Some(error) = reply::read(encoder.bytes())?.error() {
        bail!("{error}");
    }
    // The store is in memory, so there is no disk to wait for.
    drop(transaction.commit()?);
    Ok(())
}
