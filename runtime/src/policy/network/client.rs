//! The client that sends the requests of all functions of a runtime.
//!
//! It has a thread of its own, started by the first request: calls run on executors that know no
//! sockets, and in Valkey on its main thread. A call hands its request over and waits for the response
//! like for anything else, so it can be killed, and its time goes on.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::connect::Connector;
use super::exchange::{HttpClient, exchange};
use super::message::{FailureCode, OutgoingRequest, RequestFailure, Response};
use super::options::NetworkOptions;
use super::resolve::SystemResolver;
use super::rule::NetworkRules;

/// Target of the lines that tell of requests, as of calls.
const AUDIT: &str = "ferrite::audit";

/// Most requests that wait for the thread.
const WAITING_MAX: usize = 1024;

/// Most threads that resolve names.
const RESOLVERS_MAX: usize = 8;

/// Time for which an unused connection is kept.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Most unused connections to one host.
const IDLE_MAX: usize = 8;

/// Most bytes of the head of a response.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Most headers of a response.
const HEADERS_MAX: usize = 128;

/// Sends the requests of all functions of a runtime.
pub(crate) struct NetworkClient {
    options: NetworkOptions,
    worker: OnceLock<Result<Worker, RequestFailure>>,
}

struct Worker {
    /// `None` once the client is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    request: OutgoingRequest,
    rules: Arc<NetworkRules>,
    function: Box<str>,
    answer: oneshot::Sender<Result<Response, RequestFailure>>,
}

impl NetworkClient {
    /// Makes a client, which starts at its first request.
    pub(crate) fn new(options: NetworkOptions) -> Self {
        Self {
            options,
            worker: OnceLock::new(),
        }
    }

    /// Returns the options.
    pub(crate) fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// Sends a request of the function of this name, and returns its response. If the future is
    /// dropped, the request is given up.
    ///
    /// `rules` must allow the request; they are asked again for each redirection.
    pub(crate) fn send(
        &self,
        request: OutgoingRequest,
        rules: Arc<NetworkRules>,
        function: &str,
    ) -> impl Future<Output = Result<Response, RequestFailure>> + Send + use<> {
        let (answer, response) = oneshot::channel();
        let job = Job {
            request,
            rules,
            function: function.into(),
            answer,
        };
        let sent = match self.worker.get_or_init(|| Worker::start(&self.options)) {
            Ok(worker) => worker.take(job),
            Err(failure) => Err(failure.clone()),
        };
        async {
            sent?;
            let gone = |_| {
                let text = "the client of the network has ended";
                Err(RequestFailure::new(FailureCode::Unavailable, text))
            };
            response.await.unwrap_or_else(gone)
        }
    }
}

impl Worker {
    fn start(options: &NetworkOptions) -> Result<Self, RequestFailure> {
        let unavailable = |text: String| RequestFailure::new(FailureCode::Unavailable, text);
        let client = http_client(options).map_err(unavailable)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVERS_MAX)
            .thread_name("ferrite-resolve")
            .build()
            .map_err(|error| unavailable(format!("no client for the network: {error}")))?;
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let limits = options.limits;
        let thread = std::thread::Builder::new()
            .name("ferrite-network".to_owned())
            .spawn(move || {
                runtime.block_on(serve(client, limits, waiting));
                // A name that is being resolved may take its time.
                runtime.shutdown_background();
            })
            .map_err(|error| unavailable(format!("no thread for the network: {error}")))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    fn take(&self, job: Job) -> Result<(), RequestFailure> {
        let jobs = self.jobs.as_ref();
        let sent = jobs.is_some_and(|jobs| jobs.try_send(job).is_ok());
        sent.then_some(()).ok_or_else(|| {
            let text = format!("{WAITING_MAX} requests wait already; try again later");
            RequestFailure::new(FailureCode::Limit, text)
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It ends as soon as it sees that nobody can send any more.
            let _ = thread.join();
        }
    }
}

/// Takes requests until nobody can send any more.
async fn serve(
    client: HttpClient,
    limits: super::options::NetworkLimits,
    mut jobs: mpsc::Receiver<Job>,
) {
    let running = Arc::new(Semaphore::new(limits.concurrent_max));
    while let Some(job) = jobs.recv().await {
        let client = client.clone();
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            let Job {
                request,
                rules,
                function,
                mut answer,
            } = job;
            let began = Instant::now();
            let method = request.method;
            let url = request.url.without_query();
            let asked = request.timeout.unwrap_or(limits.time_max);
            let time_max = asked.min(limits.time_max);
            let exchanging = async {
                // Only a closed semaphore refuses, and this one stays open.
                let _permit = running.acquire().await;
                exchange(&client, &limits, &rules, request).await
            };
            let result = {
                let mut exchanging = pin!(timeout(time_max, exchanging));
                tokio::select! {
                    result = &mut exchanging => Some(result.unwrap_or_else(|_| {
                        let text = format!("no response within {} ms", time_max.as_millis());
                        Err(RequestFailure::new(FailureCode::Timeout, text))
                    })),
                    () = answer.closed() => None,
                }
            };
            let duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let method = method.as_str();
            match &result {
                Some(Ok(response)) => tracing::info!(
                    target: AUDIT,
                    function = &*function,
                    method,
                    url,
                    status = response.status,
                    bytes = response.body.len(),
                    duration_us,
                    "request"
                ),
                Some(Err(failure)) => tracing::info!(
                    target: AUDIT,
                    function = &*function,
                    method,
                    url,
                    failure = %failure,
                    duration_us,
                    "request"
                ),
                None => tracing::info!(
                    target: AUDIT,
                    function = &*function,
                    method,
                    url,
                    failure = "the call ended",
                    duration_us,
                    "request"
                ),
            }
            if let Some(result) = result {
                // Nobody waits for it if the call ended just now.
                let _ = answer.send(result);
            }
        });
    }
}

fn http_client(options: &NetworkOptions) -> Result<HttpClient, String> {
    let mut roots = RootCertStore::empty();
    // The system's certificates that cannot be read are those that nobody could use.
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    for certificate in CertificateDer::pem_slice_iter(&options.extra_roots) {
        let certificate = certificate.map_err(|error| format!("ca_file is no PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("ca_file: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = Connector {
        tls: Arc::new(tls),
        resolver: match &options.resolver {
            Some(resolver) => Arc::clone(resolver),
            None => Arc::new(SystemResolver),
        },
        private_ranges: options.private_ranges.as_slice().into(),
        time_max: options.limits.connect_time_max,
    };
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http1_max_headers(HEADERS_MAX)
        .http2_max_header_list_size(HEAD_BYTES_MAX as u32)
        .build(connector))
}
