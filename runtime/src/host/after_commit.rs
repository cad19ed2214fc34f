//! `after_commit`: a request to another server as a part of what the call commits.
//!
//! It becomes a record of the call's transaction. So it exists if the call commits, and only then: a call
//! that fails, is profiled or meets a conflict leaves none, and a further try adds it again.

use ferrite_wasm_abi::Status;
use smallvec::SmallVec;

use crate::automation::clock::now_millis;
use crate::automation::outbox::message::{KEY_HEADER, OutboxMessage, new_key};
use crate::call::state::CallState;
use crate::host::fuel;
use crate::host::guest::Guest;
use crate::host::http::{Unread, deliver, read_request};
use crate::policy::network::message::{FailureCode, RequestFailure};
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::{Encoder, Protocol};

pub(super) fn after_commit<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    request: i32,
    len: i32,
    buf: i32,
    cap: i32,
) -> wasmtime::Result<i32> {
    guest.charge_inputs(fuel::CALL + fuel::REQUEST, &[(request, len)])?;
    let view = guest.view()?;
    let written = view.span(request, len)?;
    view.span(buf, cap)?;
    let reply = match add(view.state, &view.memory[written]) {
        Ok(key) => {
            let mut reply = Encoder::new(Protocol::Resp2);
            reply.bulk(&key);
            reply.take()
        }
        Err(Unread::Denied) => return Ok(Status::Denied.code()),
        Err(Unread::Failed(failure)) => failure.encode(),
    };
    deliver(guest, &reply, buf, cap)
}

/// Adds a request to the call's transaction, and returns its idempotency key.
fn add<K: Keyspace>(state: &mut CallState<K>, written: &[u8]) -> Result<Box<[u8]>, Unread> {
    let failed = |code, text: String| Unread::Failed(RequestFailure::new(code, text));
    let Some(outbox) = state.outbox.clone() else {
        let text = "this host sends no requests after a commit; ferrite-server does, and Valkey and Redis with the module";
        return Err(failed(FailureCode::Unavailable, text.to_owned()));
    };
    if !state.spec.registered {
        let text = "a function of a library (FUNCTION LOAD) is not known by a name under which its request could be sent later; load it with WASM.LOAD and call it with WASM.CALL";
        return Err(failed(FailureCode::Unavailable, text.to_owned()));
    }
    let request = read_request(state, written)?;
    if !state.requests.may_add() {
        let text = "no requests while the module starts, or in a call that may only read";
        return Err(failed(FailureCode::Unavailable, text.to_owned()));
    }
    let requests_max = state.network.options().limits.requests_max;
    if state.requests.added() >= requests_max {
        return Err(failed(
            FailureCode::Limit,
            format!(
                "the call has added {requests_max} requests, which is the limit; raise max_requests, or do less in one call"
            ),
        ));
    }
    if let Some(text) = outbox.full() {
        return Err(failed(FailureCode::Limit, text));
    }
    let new_key = new_key().map_err(|_| {
        let text = "the system gives no random bytes for the idempotency key";
        failed(FailureCode::Unavailable, text.to_owned())
    })?;
    let words: SmallVec<[&[u8]; 16]> = state.arguments.arguments(written).collect();
    let message = OutboxMessage::new(&state.spec.name, &request, &words, &new_key, now_millis());
    let key = request.headers.get(KEY_HEADER).unwrap_or(&new_key);
    let key = key.as_bytes().into();
    let partition = state
        .input
        .key(0)
        .map_or(0, |key| state.data.partition_of(key));
    let name = outbox.new_record_name(partition);
    let kept = state.data.keep_record(&name, &message.to_bytes());
    match kept {
        Ok(()) => {
            state.requests.note_added();
            Ok(key)
        }
        Err(Status::Limit) => {
            let text =
                "the writes of the call and this request have more bytes than max_writes allows";
            Err(failed(FailureCode::Limit, text.to_owned()))
        }
        // A conflict, after which the call runs again, or a store that takes no records.
        Err(_) => {
            let text = "the store does not take the request at present";
            Err(failed(FailureCode::Unavailable, text.to_owned()))
        }
    }
}
