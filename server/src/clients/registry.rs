//! The connected clients: what `CLIENT LIST` shows of each, and the handle that closes it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::net::socket::SocketHandle;

/// A connected client, as other connections see it.
///
/// Its connection updates the fields once for each batch of requests.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    handle: Arc<SocketHandle>,
    since: Instant,
    draining: AtomicBool,
    disconnected: AtomicBool,
    labels: Mutex<Labels>,
    pub(crate) activity: Activity,
}

/// Names that describe a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

/// Figures of a connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Milliseconds from the connection's start to its last batch of requests.
    last_millis: AtomicU64,
    pub(crate) requests: AtomicU64,
    database: AtomicU64,
    /// 2 or 3.
    pub(crate) protocol: AtomicU64,
    /// Number of requests that `MULTI` has queued; `u64::MAX`, shown as -1, outside of `MULTI`.
    queued: AtomicU64,
    /// The last command's name, padded with zeros.
    command: [AtomicU64; COMMAND_BYTES / 8],
    pub(crate) input_bytes: AtomicUsize,
}

/// Bytes of a command's name that are kept.
const COMMAND_BYTES: usize = 24;

impl Activity {
    /// Stores the start of a command's name.
    pub(crate) fn set_command(&self, name: &[u8]) {
        let mut packed = [0; COMMAND_BYTES];
        for (to, from) in packed.iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        for (word, bytes) in self.command.iter().zip(packed.chunks_exact(8)) {
            let bytes = bytes.try_into().unwrap_or_default();
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
    }

    fn command(&self) -> String {
        let bytes: Vec<u8> = self
            .command
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .take_while(|&byte| byte != 0)
            .collect();
        if bytes.is_empty() {
            "NULL".to_owned()
        } else {
            bytes.escape_ascii().to_string()
        }
    }
}

impl Client {
    /// Closes the connection at once. From then on it is not among the connected ones, though its task may take some
    /// time to end.
    pub(crate) fn disconnect(&self) {
        self.disconnected.store(true, Ordering::Release);
        self.handle.disconnect();
    }

    /// Returns false once the server has closed the connection, by [`Client::disconnect`].
    fn is_connected(&self) -> bool {
        !self.disconnected.load(Ordering::Acquire)
    }

    /// Closes the connection once it has answered what it has read.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.handle.stop_reading();
    }

    /// Returns true if the server itself ended the connection's input, by [`Client::drain`].
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn labels(&self) -> Labels {
        self.labels.lock().clone()
    }

    pub(crate) fn update_labels(&self, change: impl FnOnce(&mut Labels)) {
        change(&mut self.labels.lock());
    }

    /// Stores the number of requests that `MULTI` has queued; `None` outside of `MULTI`.
    pub(crate) fn set_queued(&self, count: Option<usize>) {
        let queued = count.map_or(u64::MAX, |count| count as u64);
        self.activity.queued.store(queued, Ordering::Relaxed);
    }

    pub(crate) fn set_database(&self, database: u32) {
        self.activity
            .database
            .store(database.into(), Ordering::Relaxed);
    }

    /// Stores that a batch of requests arrived now; returns the time.
    pub(crate) fn touch(&self) -> Instant {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.since);
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.activity.last_millis.store(millis, Ordering::Relaxed);
        now
    }
}

/// The line of `CLIENT LIST` and `CLIENT INFO`, without the line break.
impl fmt::Display for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels();
        let activity = &self.activity;
        let age = self.since.elapsed();
        let last_millis = u128::from(activity.last_millis.load(Ordering::Relaxed));
        let idle = age.as_millis().saturating_sub(last_millis) / 1000;
        write!(
            out,
            "id={} addr={} laddr={} name={} age={} idle={idle} flags=N db={} sub=0 psub=0 ssub=0 \
             multi={} qbuf={} cmd={} user={} resp={} lib-name={} lib-ver={} tot-cmds={}",
            self.id,
            self.peer,
            self.local,
            labels.name,
            age.as_secs(),
            activity.database.load(Ordering::Relaxed),
            activity.queued.load(Ordering::Relaxed).cast_signed(),
            activity.input_bytes.load(Ordering::Relaxed),
            activity.command(),
            labels.user,
            activity.protocol.load(Ordering::Relaxed),
            labels.library,
            labels.library_version,
            activity.requests.load(Ordering::Relaxed),
        )
    }
}

/// Every connected client.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
}

impl Clients {
    /// Adds a client; `None` if there are `count_max` already.
    pub(crate) fn register(
        self: &Arc<Self>,
        peer: SocketAddr,
        local: SocketAddr,
        handle: Arc<SocketHandle>,
        count_max: usize,
    ) -> Option<ClientGuard> {
        let mut connected = self.connected.lock();
        if connected.len() >= count_max {
            return None;
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client {
            id,
            peer,
            local,
            handle,
            since: Instant::now(),
            draining: AtomicBool::new(false),
            disconnected: AtomicBool::new(false),
            labels: Mutex::default(),
            activity: Activity {
                protocol: AtomicU64::new(2),
                queued: AtomicU64::new(u64::MAX),
                ..Activity::default()
            },
        });
        connected.insert(id, Arc::clone(&client));
        Some(ClientGuard {
            clients: Arc::clone(self),
            client,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.connected.lock().len()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        let connected = self.connected.lock();
        let client = connected.get(&id).filter(|client| client.is_connected());
        client.cloned()
    }

    /// Returns every connected client, in the order of their connections.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        let connected = self.connected.lock();
        let clients = connected.values().filter(|client| client.is_connected());
        clients.cloned().collect()
    }

    /// Returns the lines of `CLIENT LIST` for these clients.
    pub(crate) fn lines(clients: &[Arc<Client>]) -> String {
        clients.iter().fold(String::new(), |mut text, client| {
            let _ = writeln!(text, "{client}");
            text
        })
    }
}

/// A registered client; dropping it removes the client from the registry.
#[derive(Debug)]
pub(crate) struct ClientGuard {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

impl ClientGuard {
    pub(crate) const fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.connected.lock().remove(&self.client.id);
    }
}
