//! Updates on a condition.

use ferrite_wasm_sdk::*;

/// Replaces a value that is what is expected.
#[ferrite_function]
pub fn compare_and_set(key: &str, expected: String, new: &str) -> Result<bool, Error> {
    if ferrite::get(key)? != Some(expected) {
        return Ok(false);
    }
    ferrite::set(key, new)?;
    Ok(true)
}

/// Adds to a counter, unless that would lead out of its bounds; and the counter.
#[ferrite_function]
pub fn bounded_counter(key: &str, delta: i64, least: i64, most: i64) -> Result<(bool, i64), Error> {
    let current: i64 = ferrite::get(key)?.unwrap_or(0);
    let sum = current + delta;
    if sum < least || sum > most {
        return Ok((false, current));
    }
    ferrite::set(key, sum)?;
    Ok((true, sum))
}

/// Updates a record that nobody has changed since `version` was read; and its version now.
#[ferrite_function]
pub fn versioned_update(
    key: &str,
    version: i64,
    changes: Vec<(String, String)>,
) -> Result<(bool, i64), Error> {
    let current: i64 = ferrite::hget(key, "version")?.unwrap_or(0);
    if current != version {
        return Ok((false, current));
    }
    for (field, value) in &changes {
        ferrite::hset(key, field, value)?;
    }
    let next = ferrite::call("HINCRBY", (key, "version", 1))?;
    Ok((true, next))
}

/// Keeps the greatest value seen; whether that is the candidate.
#[ferrite_function]
pub fn keep_maximum(key: &str, candidate: i64) -> Result<bool, Error> {
    if ferrite::get(key)?.is_some_and(|current: i64| current >= candidate) {
        return Ok(false);
    }
    ferrite::set(key, candidate)?;
    Ok(true)
}
