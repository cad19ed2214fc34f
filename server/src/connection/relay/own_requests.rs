//! Requests of this server's own, among those of the client.

use ferrite_protocol::resp::{Encoder, Protocol};

pub(super) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// The request of which an engine says that there is no such command, which ends its `MULTI`.
pub(super) const UNKNOWN_COMMAND: &[u8] = b"*1\r\n$9\r\nWASM.CALL\r\n";

pub(super) const REPLIES_ON: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n";
pub(super) const REPLIES_OFF: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n";

/// Returns a request of this server's own.
pub(super) fn encoded<'w>(
    words: impl IntoIterator<Item = &'w [u8], IntoIter: ExactSizeIterator>,
) -> Vec<u8> {
    let words = words.into_iter();
    let mut request = Encoder::new(Protocol::Resp2);
    request.array(words.len());
    words.for_each(|word| request.bulk(word));
    request.take()
}
