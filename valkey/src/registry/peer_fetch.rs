//! Fetches missing sources from other servers.
//!
//! Only the digest of a function is sent with the data. A server without that source in its cache
//! asks the servers it knows, its primary and the nodes of its cluster, checks the source against
//! the digest, and compiles it. Native code is never taken from other servers.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use ferrite_cache::Digest;
use ferrite_runtime::registry::record::Record;

use crate::api::cluster_nodes::{self, Node};
use crate::api::command_call::Format;
use crate::api::context::Context;
use crate::module::Module;
use crate::options::Peers;
use crate::transaction::server_reads;
use ferrite_protocol::resp::tree::{Token, Tokens};

/// Longest time that a peer may take to accept a connection, and for each read and write.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of times that a source is asked for if no server has it.
const ATTEMPTS_MAX: u32 = 9;
/// Time before the second attempt; doubled before each further one.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Compiles the functions of these records on a new thread, with sources from the cache or from a
/// peer.
pub(crate) fn prepare(module: &'static Module, context: Context<'_>, records: Vec<Record>) {
    if records.is_empty() {
        return;
    }
    let peers = if module.options.peers.fetch {
        known_servers(context)
    } else {
        Vec::new()
    };
    let work = move || {
        let mut missing = records;
        let mut pause = RETRY_PAUSE;
        for again in (0..ATTEMPTS_MAX).rev() {
            missing.retain(|record| match prepare_one(module, record, &peers) {
                Ok(()) => false,
                Err(error) if again > 0 => {
                    tracing::debug!(function = %record.name, error);
                    true
                }
                Err(error) => {
                    tracing::warn!(function = %record.name, digest = %record.digest, error);
                    false
                }
            });
            if missing.is_empty() {
                return;
            }
            // The servers that were asked may be fetching it themselves.
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2);
        }
    };
    let started = std::thread::Builder::new()
        .name("ferrite-provide".to_owned())
        .spawn(work);
    if let Err(error) = started {
        tracing::warn!(%error, "functions are made ready only when they are called");
    }
}

/// Compiles one function, if its record is still the current one.
fn prepare_one(module: &Module, record: &Record, peers: &[Node]) -> Result<(), String> {
    let name = record.name.as_bytes();
    let is_current = module
        .runtime
        .function(name)
        .is_ok_and(|known| known.record().digest == record.digest);
    if !is_current {
        // The name has another function by now, or none.
        return Ok(());
    }
    let cache = module.runtime.cache().ok_or("there is no cache")?;
    let known = cache
        .source(&record.digest)
        .map_err(|error| error.to_string())?;
    if known.is_none() {
        fetch(module, &record.digest, peers)?;
    }
    module.runtime.keep_release(record);
    // An earlier call may have failed for want of the source; further calls need not wait for its
    // retry.
    module.runtime.retry_now(name);
    module
        .runtime
        .ready(name)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Fetches a source from the first peer that has it, into the cache.
fn fetch(module: &Module, digest: &Digest, peers: &[Node]) -> Result<(), String> {
    let cache = module.runtime.cache().ok_or("there is no cache")?;
    let max = module.runtime.options().source.source_bytes_max;
    let mut failure = "its source is not in the cache, and no other server is known".to_owned();
    for peer in peers {
        match fetch_from(peer, &module.options.peers, digest, max) {
            Ok(source) if Digest::of(&source) == *digest => {
                cache
                    .put_source(&source)
                    .map_err(|error| error.to_string())?;
                return Ok(());
            }
            Ok(_) => failure = format!("{}:{} gave another source", peer.host, peer.port),
            Err(error) => {
                failure = format!(
                    "its source is not in the cache, and {}:{} did not give it: {error}",
                    peer.host, peer.port
                );
            }
        }
    }
    Err(failure)
}

/// Fetches a source of at most `max` bytes from one server.
fn fetch_from(peer: &Node, access: &Peers, digest: &Digest, max: u64) -> io::Result<Vec<u8>> {
    let address = (peer.host.as_str(), peer.port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("its host has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, PEER_TIMEOUT)?;
    stream.set_read_timeout(Some(PEER_TIMEOUT))?;
    stream.set_write_timeout(Some(PEER_TIMEOUT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if let Some(password) = &access.password {
        let user = access.user.as_deref().unwrap_or("default");
        stream.write_all(&request(&["AUTH", user, password]))?;
        read_line(&mut reader)?;
    }
    stream.write_all(&request(&["WASM.SOURCE", &digest.to_string()]))?;
    let head = read_line(&mut reader)?;
    let len: u64 = head
        .strip_prefix('$')
        .and_then(|len| len.parse().ok())
        .ok_or_else(|| io::Error::other("it has none either"))?;
    if len > max {
        return Err(io::Error::other("it is larger than sources may be here"));
    }
    let mut source = Vec::new();
    reader.take(len).read_to_end(&mut source)?;
    Ok(source)
}

/// Reads the first line of a reply. An error reply becomes an error.
fn read_line(reader: &mut impl io::BufRead) -> io::Result<String> {
    /// Longer than the first line of any expected reply.
    const LINE_BYTES_MAX: u64 = 4096;
    let mut line = String::new();
    reader.take(LINE_BYTES_MAX).read_line(&mut line)?;
    let line = line.trim_end();
    match line.strip_prefix('-') {
        Some(error) => Err(io::Error::other(error.to_owned())),
        None => Ok(line.to_owned()),
    }
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

/// Returns the servers that may have a missing source: the primary first.
fn known_servers(context: Context<'_>) -> Vec<Node> {
    let mut nodes: Vec<Node> = primary(context).into_iter().collect();
    let mut others = cluster_nodes::others(context);
    others.sort_by_key(|node| !node.primary);
    nodes.extend(others);
    nodes
}

/// Returns this replica's primary; `None` if this server is no replica.
fn primary(context: Context<'_>) -> Option<Node> {
    server_reads::command(context, &[b"INFO", b"replication"], Format::Own, |reply| {
        let Some(Token::Bulk(text) | Token::Verbatim(_, text)) = Tokens::new(reply).next() else {
            return None;
        };
        let text = String::from_utf8_lossy(text);
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        Some(Node {
            host: field("master_host")?.trim().to_owned(),
            port: field("master_port")?.trim().parse().ok()?,
            primary: true,
        })
    })?
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use ferrite_cache::Digest;

    use super::{Node, Peers, fetch_from, request};

    fn answer(reply: &'static [u8]) -> std::io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(reply)
        });
        let peer = Node {
            host: "127.0.0.1".to_owned(),
            port,
            primary: true,
        };
        let access = Peers {
            fetch: true,
            user: None,
            password: None,
        };
        let source = fetch_from(&peer, &access, &Digest::of(b"abc"), 100);
        server.join().expect("no panic")?;
        source
    }

    #[test]
    fn a_peer_is_believed_no_length() {
        assert_eq!(answer(b"$3\r\nabc\r\n").expect("a source"), b"abc");
        assert!(answer(b"$-1\r\n").is_err());
        assert!(answer(b"$999999999999\r\n").is_err());
        let refused = answer(b"-NOPERM no\r\n").expect_err("an error");
        assert!(refused.to_string().contains("NOPERM"));
    }

    #[test]
    fn whatever_a_peer_sends_is_short_or_refused() {
        for reply in [
            &b""[..],
            b"$",
            b"$-",
            b"$3",
            b"$3\r\n",
            b"$18446744073709551616\r\nabc",
            b"$ 3\r\nabc",
            b"*1\r\n$3\r\nabc\r\n",
            b"\xff\xfe\r\n",
            b"$99\r\nshort",
            &[b'x'; 10_000],
        ] {
            let found = answer(reply);
            assert!(found.as_ref().is_ok_and(|bytes| bytes.len() < 100) || found.is_err());
        }
    }

    #[test]
    fn a_request_is_a_flat_array() {
        assert_eq!(request(&["A", "bc"]), b"*2\r\n$1\r\nA\r\n$2\r\nbc\r\n");
    }
}
