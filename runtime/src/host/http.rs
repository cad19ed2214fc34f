//! `http`: a request to another server, once for the whole call.
//!
//! A call that begins again after a conflict gets the responses that it got before: a request is not
//! sent twice. A try that has met a conflict sends none. While a call waits it holds no lock of the data and no thread; its time goes on, and a
//! kill ends it. A call that takes its turn after conflicts keeps the turn.

use std::sync::Arc;
use std::time::Instant;

use ferrite_wasm_abi::{ENV_PREFIX, MODULE, Status};
use smallvec::SmallVec;
use wasmtime::{Caller, Linker};

use crate::call::host_trap::HostTrap;
use crate::call::overflow::ResultSource;
use crate::call::state::{CallState, StoreData};
use crate::host::command::scan;
use crate::host::fuel;
use crate::host::guest::Guest;
use crate::policy::network::message::{FailureCode, OutgoingRequest, RequestFailure};
use ferrite_protocol::keyspace::Keyspace;

const NAME: &str = "http";

/// Adds the `http` that waits to a linker, in place of the one that never does.
pub(super) fn add<K: Keyspace>(linker: &mut Linker<StoreData<K>>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        MODULE,
        NAME,
        |caller: Caller<'_, StoreData<K>>, (request, len, buf, cap): (i32, i32, i32, i32)| {
            Box::new(async move {
                let mut guest = Guest::new(caller, NAME);
                let began = guest.state().host_calls.is_some().then(Instant::now);
                let answer = wait(&mut guest, request, len, buf, cap).await;
                if let Some(began) = began {
                    guest.count(began.elapsed());
                }
                answer
            })
        },
    )?;
    linker.alias(MODULE, NAME, "env", &[ENV_PREFIX, NAME].concat())?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The `http` of calls without a fiber. It answers what it can at once; a call that must wait is run
/// again on a fiber.
pub(super) fn http<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    request: i32,
    len: i32,
    buf: i32,
    cap: i32,
) -> wasmtime::Result<i32> {
    match prepare(guest, request, len, buf, cap)? {
        Prepared::Denied => Ok(Status::Denied.code()),
        Prepared::Response(response) => deliver(guest, &response, buf, cap),
        Prepared::Send { .. } => Err(HostTrap::NeedsFiber.into()),
    }
}

async fn wait<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    request: i32,
    len: i32,
    buf: i32,
    cap: i32,
) -> wasmtime::Result<i32> {
    let response = match prepare(guest, request, len, buf, cap)? {
        Prepared::Denied => return Ok(Status::Denied.code()),
        Prepared::Response(response) => response,
        Prepared::Send { request, written } => {
            let state = guest.state();
            state.stop_exclusive();
            let rules = Arc::clone(state.spec.access_policy.network());
            let sending = state.network.send(*request, rules, &state.spec.name);
            let response = match state.wait_for(sending).await? {
                Ok(response) => response.encode(),
                Err(failure) => failure.encode(),
            };
            state.resume();
            let response = Arc::from(response);
            state.requests.remember(written, Arc::clone(&response));
            response
        }
    };
    deliver(guest, &response, buf, cap)
}

/// The next step of a request.
enum Prepared {
    /// The permissions refuse it.
    Denied,
    /// Its response is known.
    Response(Arc<[u8]>),
    /// It has to be sent.
    Send {
        request: Box<OutgoingRequest>,
        /// The request as the guest wrote it.
        written: Box<[u8]>,
    },
}

fn prepare<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    request: i32,
    len: i32,
    buf: i32,
    cap: i32,
) -> wasmtime::Result<Prepared> {
    guest.charge_inputs(fuel::CALL + fuel::REQUEST, &[(request, len)])?;
    let view = guest.view()?;
    let written = view.span(request, len)?;
    view.span(buf, cap)?;
    let written = &view.memory[written];
    let request = match read_request(view.state, written) {
        Ok(request) => request,
        Err(Unread::Denied) => return Ok(Prepared::Denied),
        Err(Unread::Failed(failure)) => return Ok(Prepared::Response(failure.encode().into())),
    };
    let CallState {
        network,
        requests,
        data,
        ..
    } = view.state;
    let failed = |code, text: String| {
        let failure = RequestFailure::new(code, text);
        Ok(Prepared::Response(failure.encode().into()))
    };
    // The guest may have been told of data that are not so.
    if data.is_lost() {
        let text = "others have changed the data; the call begins again";
        return failed(FailureCode::Unavailable, text.to_owned());
    }
    if !requests.may_send() {
        let text = "no requests while the module starts, in a transaction or in a script";
        return failed(FailureCode::Unavailable, text.to_owned());
    }
    if let Some(response) = requests.remembered(written) {
        return Ok(Prepared::Response(response));
    }
    let requests_max = network.options().limits.requests_max;
    if requests.sent() >= requests_max {
        return failed(
            FailureCode::Limit,
            format!(
                "the call has made {requests_max} requests, which is the limit; raise max_requests, or do less in one call"
            ),
        );
    }
    let written = written.into();
    Ok(Prepared::Send { request, written })
}

/// Reason why the bytes of a guest are no request that it may make.
pub(super) enum Unread {
    /// The permissions refuse it.
    Denied,
    /// The guest gets this error.
    Failed(RequestFailure),
}

/// Reads the request that a guest wrote, and checks that its function may make it.
pub(super) fn read_request<K: Keyspace>(
    state: &mut CallState<K>,
    written: &[u8],
) -> Result<Box<OutgoingRequest>, Unread> {
    let CallState {
        arguments,
        data,
        network,
        spec,
        ..
    } = state;
    let failed = |code, text: String| Unread::Failed(RequestFailure::new(code, text));
    let bytes_max = network.options().limits.request_bytes_max;
    if written.len() as u64 > bytes_max {
        return Err(failed(
            FailureCode::Limit,
            format!(
                "the request has {} bytes, the limit is {bytes_max}; raise max_request",
                written.len(),
            ),
        ));
    }
    if written.is_empty() || !scan(arguments, written) {
        let text = "a request is a RESP array of bulk strings";
        return Err(failed(FailureCode::Invalid, text.to_owned()));
    }
    let words: SmallVec<[&[u8]; 16]> = arguments.arguments(written).collect();
    let request = OutgoingRequest::read(&words).map_err(Unread::Failed)?;
    let policy = &spec.access_policy;
    if let Err(denied) = policy.check_request(request.method, &request.url) {
        data.refuse(denied);
        return Err(Unread::Denied);
    }
    Ok(Box::new(request))
}

/// Hands a reply in RESP to the guest.
pub(super) fn deliver<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    response: &[u8],
    buf: i32,
    cap: i32,
) -> wasmtime::Result<i32> {
    guest.charge_bytes(0, response.len() as u64)?;
    let view = guest.view()?;
    let buffer = view.span(buf, cap)?;
    let buffer = &mut view.memory[buffer];
    Ok(view
        .state
        .overflow
        .deliver(response, buffer, ResultSource::Data))
}
