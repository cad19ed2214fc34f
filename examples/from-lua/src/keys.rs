//! Keys by pattern, and sessions.

use ferrite_wasm_sdk::*;

/// Deletes all keys that match; how many.
#[ferrite_function]
pub fn delete_by_pattern(pattern: &str) -> Result<usize, Error> {
    let keys: Vec<String> = ferrite::call("KEYS", pattern)?;
    ferrite::del_many(keys)
}

/// Reads a session and keeps it alive: its user and how often it was read; null where it is gone.
#[ferrite_function]
pub fn session_touch(key: &str, ttl_secs: i64, now: i64) -> Result<Option<(String, i64)>, Error> {
    let Some(user) = ferrite::hget(key, "user")? else {
        return Ok(None);
    };
    ferrite::hset(key, "seen", now)?;
    ferrite::expire(key, ttl_secs)?;
    Ok(Some((user, ferrite::call("HINCRBY", (key, "hits", 1))?)))
}
