//! The host functions outside of a guest: the signatures of `guest`, on the thread's store.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use ferrite_wasm_abi::{Status, log_level, set_option};

use super::keyspace::{Expiry, WRONG_TYPE};
use super::{State, commands, with_state};
use crate::level::Level;
use crate::value::Value;
use crate::value::decode::decode;

/// Copies the part that fits, keeps a longer result for `take`, and returns the full length.
fn fill(state: &mut State, buffer: &mut [u8], bytes: &[u8]) -> i32 {
    let fitting = bytes.len().min(buffer.len());
    buffer[..fitting].copy_from_slice(&bytes[..fitting]);
    if fitting < bytes.len() {
        bytes.clone_into(&mut state.long_result);
    }
    i32::try_from(bytes.len()).unwrap_or(Status::Limit.code())
}

fn fill_found(state: &mut State, buffer: &mut [u8], found: Option<Vec<u8>>) -> i32 {
    found.map_or(Status::NotFound.code(), |bytes| fill(state, buffer, &bytes))
}

/// Returns the status for a command's error text.
fn status_of(error: &str) -> i32 {
    if error == WRONG_TYPE {
        Status::WrongType.code()
    } else {
        Status::Invalid.code()
    }
}

fn count_of(value: &Value) -> i32 {
    match value {
        Value::Int(count) => i32::try_from(*count).unwrap_or(i32::MAX),
        Value::Error(text) => status_of(text),
        _ => Status::Store.code(),
    }
}

fn run(name: &[u8], first: &[&[u8]], rest: &[&[u8]]) -> i32 {
    let argv = [&[name], first, rest].concat();
    with_state(|state| count_of(&commands::execute(&mut state.keyspace, &argv)))
}

pub(crate) fn key_count() -> i32 {
    with_state(|state| state.keys.len() as i32)
}

pub(crate) fn arg_count() -> i32 {
    with_state(|state| state.arguments.len() as i32)
}

pub(crate) fn key(index: i32, buffer: &mut [u8]) -> i32 {
    with_state(|state| {
        let found = state.keys.get(index as usize).cloned();
        fill_found(state, buffer, found)
    })
}

pub(crate) fn arg(index: i32, buffer: &mut [u8]) -> i32 {
    with_state(|state| {
        let found = state.arguments.get(index as usize).cloned();
        fill_found(state, buffer, found)
    })
}

fn reply(value: Value) {
    with_state(|state| state.replies.push(value));
}

/// Returns the text with blanks for line ends, which would break a line of RESP.
fn line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}

pub(crate) fn reply_null() {
    reply(Value::Null);
}

pub(crate) fn reply_bool(value: bool) {
    reply(Value::Bool(value));
}

pub(crate) fn reply_int(value: i64) {
    reply(Value::Int(value));
}

pub(crate) fn reply_double(value: f64) {
    reply(Value::Double(value));
}

pub(crate) fn reply_bulk(bytes: &[u8]) {
    reply(Value::Bulk(bytes.to_owned()));
}

pub(crate) fn reply_simple(text: &[u8]) {
    reply(Value::Simple(line(text)));
}

pub(crate) fn reply_error(text: &[u8]) {
    reply(Value::Error(line(text)));
}

pub(crate) fn reply_array(count: usize) {
    with_state(|state| state.replies.open(false, count));
}

pub(crate) fn reply_map(count: usize) {
    with_state(|state| state.replies.open(true, count * 2));
}

pub(crate) fn get(key: &[u8], buffer: &mut [u8]) -> i32 {
    with_state(|state| match state.keyspace.string(key) {
        Ok(found) => {
            let found = found.cloned();
            fill_found(state, buffer, found)
        }
        Err(error) => status_of(error),
    })
}

pub(crate) fn set(key: &[u8], value: &[u8], options: i32, ttl_millis: i64) -> i32 {
    let has = |bit| options & bit != 0;
    let keep = has(set_option::KEEPTTL);
    let excluding = has(set_option::NX) && has(set_option::XX) || keep && ttl_millis >= 0;
    if options & !set_option::ALL != 0 || excluding || ttl_millis == 0 {
        return Status::Invalid.code();
    }
    with_state(|state| {
        let exists = state.keyspace.exists(key);
        if has(set_option::NX) && exists || has(set_option::XX) && !exists {
            return Status::NotStored.code();
        }
        let expiry = match (keep, ttl_millis) {
            (true, _) => Expiry::Keep,
            (false, 1..) => Expiry::AfterMillis(ttl_millis),
            (false, _) => Expiry::None,
        };
        state.keyspace.set_string(key, value.to_owned(), expiry);
        0
    })
}

pub(crate) fn del(keys: &[&[u8]]) -> i32 {
    if keys.is_empty() {
        0
    } else {
        run(b"DEL", keys, &[])
    }
}

pub(crate) fn exists(keys: &[&[u8]]) -> i32 {
    if keys.is_empty() {
        0
    } else {
        run(b"EXISTS", keys, &[])
    }
}

pub(crate) fn incr_by(key: &[u8], delta: i64) -> Result<i64, i32> {
    with_state(|state| state.keyspace.increment(key, delta).map_err(status_of))
}

pub(crate) fn expire(key: &[u8], ttl_millis: i64) -> i32 {
    with_state(|state| state.keyspace.expire_after(key, ttl_millis).into())
}

pub(crate) fn ttl(key: &[u8]) -> i64 {
    with_state(|state| state.keyspace.ttl_millis(key))
}

pub(crate) fn hget(key: &[u8], field: &[u8], buffer: &mut [u8]) -> i32 {
    with_state(|state| match state.keyspace.hash(key) {
        Ok(hash) => {
            let found = hash.and_then(|hash| hash.get(field)).cloned();
            fill_found(state, buffer, found)
        }
        Err(error) => status_of(error),
    })
}

pub(crate) fn hset(key: &[u8], field: &[u8], value: &[u8]) -> i32 {
    run(b"HSET", &[key, field, value], &[])
}

pub(crate) fn hdel(key: &[u8], fields: &[&[u8]]) -> i32 {
    if fields.is_empty() {
        0
    } else {
        run(b"HDEL", &[key], fields)
    }
}

pub(crate) fn call(command: &[u8], arguments: &[u8], buffer: &mut [u8]) -> i32 {
    let Some(Value::Array(items)) = decode(arguments) else {
        return Status::Invalid.code();
    };
    let mut argv = alloc::vec![command];
    for item in &items {
        let Value::Bulk(bytes) = item else {
            return Status::Invalid.code();
        };
        argv.push(bytes);
    }
    with_state(|state| {
        let reply = commands::execute(&mut state.keyspace, &argv);
        let mut bytes = Vec::new();
        encode(&reply, &mut bytes);
        fill(state, buffer, &bytes)
    })
}

pub(crate) fn http(request: &[u8], buffer: &mut [u8]) -> i32 {
    let Some(Value::Array(words)) = decode(request) else {
        return Status::Invalid.code();
    };
    with_state(|state| {
        let mut bytes = Vec::new();
        encode(&state.requests.answer(words), &mut bytes);
        fill(state, buffer, &bytes)
    })
}

pub(crate) fn after_commit(request: &[u8], buffer: &mut [u8]) -> i32 {
    let Some(Value::Array(words)) = decode(request) else {
        return Status::Invalid.code();
    };
    with_state(|state| {
        let mut bytes = Vec::new();
        encode(&state.requests.add(words), &mut bytes);
        fill(state, buffer, &bytes)
    })
}

pub(crate) fn config(name: &[u8], buffer: &mut [u8]) -> i32 {
    with_state(|state| {
        let mut values = state.config.iter();
        let found = values.rfind(|(known, _)| known.as_bytes() == name);
        let found = found.map(|(_, value)| value.clone());
        fill_found(state, buffer, found)
    })
}

/// Writes a reply in RESP2.
fn encode(value: &Value, bytes: &mut Vec<u8>) {
    let mut head = |kind: char, text: &str| {
        bytes.extend_from_slice(alloc::format!("{kind}{text}\r\n").as_bytes());
    };
    match value {
        Value::Null => head('$', "-1"),
        Value::Bool(truth) => head(':', if *truth { "1" } else { "0" }),
        Value::Int(number) => head(':', &alloc::format!("{number}")),
        Value::Simple(text) => head('+', text),
        Value::Error(text) => head('-', text),
        Value::Double(number) => {
            encode(&Value::Bulk(commands::number_text(*number).into()), bytes);
        }
        Value::Bulk(bulk) => {
            head('$', &alloc::format!("{}", bulk.len()));
            bytes.extend_from_slice(bulk);
            bytes.extend_from_slice(b"\r\n");
        }
        Value::Array(items) => {
            head('*', &alloc::format!("{}", items.len()));
            for item in items {
                encode(item, bytes);
            }
        }
        Value::Map(pairs) => {
            head('*', &alloc::format!("{}", pairs.len() * 2));
            for (key, value) in pairs {
                encode(key, bytes);
                encode(value, bytes);
            }
        }
    }
}

pub(crate) fn take(buffer: &mut [u8], offset: usize) -> i32 {
    with_state(|state| {
        let Some(rest) = state.long_result.get(offset..) else {
            return Status::NotFound.code();
        };
        let fitting = rest.len().min(buffer.len());
        buffer[..fitting].copy_from_slice(&rest[..fitting]);
        fitting as i32
    })
}

pub(crate) fn log(level: i32, text: &[u8]) {
    let level = match level {
        log_level::TRACE => Level::Trace,
        log_level::DEBUG => Level::Debug,
        log_level::INFO => Level::Info,
        log_level::WARN => Level::Warn,
        _ => Level::Error,
    };
    let text = String::from_utf8_lossy(text).into_owned();
    with_state(|state| state.log.push((level, text)));
}

pub(crate) fn time_millis() -> i64 {
    with_state(|state| state.keyspace.now_millis())
}

/// Marsaglia's xorshift64 ("Xorshift RNGs", 2003), from a fixed seed: the same bytes in every run.
pub(crate) fn random(buffer: &mut [u8]) {
    with_state(|state| {
        for chunk in buffer.chunks_mut(8) {
            state.random ^= state.random << 13;
            state.random ^= state.random >> 7;
            state.random ^= state.random << 17;
            chunk.copy_from_slice(&state.random.to_le_bytes()[..chunk.len()]);
        }
    });
}
