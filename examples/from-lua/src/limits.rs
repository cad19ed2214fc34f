//! Limits: a fixed window, a sliding one, a token bucket.

use ferrite_wasm_sdk::*;

/// At most `limit` calls in a fixed window.
#[ferrite_function]
pub fn rate_limit(key: &str, limit: i64, window_secs: i64) -> Result<bool, Error> {
    let current: i64 = ferrite::get(key)?.unwrap_or(0);
    if current >= limit {
        return Ok(false);
    }
    ferrite::incr(key)?;
    if current == 0 {
        ferrite::expire(key, window_secs)?;
    }
    Ok(true)
}

/// At most `limit` calls in any window, by a sorted set of the calls' times; and how many are left.
#[ferrite_function]
pub fn sliding_window(
    key: &str,
    now: i64,
    window: i64,
    limit: i64,
    call: &str,
) -> Result<(bool, i64), Error> {
    ferrite::call::<()>("ZREMRANGEBYSCORE", (key, "-inf", now - window))?;
    let left = limit - ferrite::call::<i64>("ZCARD", key)?;
    if left <= 0 {
        return Ok((false, 0));
    }
    ferrite::call::<()>("ZADD", (key, now, call))?;
    ferrite::expire_millis(key, window)?;
    Ok((true, left - 1))
}

/// A bucket of `capacity` tokens that refills by `rate` a second; or how many ms to wait.
///
/// Counts thousandths of a token, so that all of it stays in integers.
#[ferrite_function]
pub fn token_bucket(
    key: &str,
    capacity: i64,
    rate: i64,
    now: i64,
    cost: i64,
) -> Result<(bool, i64), Error> {
    let full = capacity * 1000;
    let cost = cost * 1000;
    let tokens: i64 = ferrite::hget(key, "tokens")?.unwrap_or(full);
    let at: i64 = ferrite::hget(key, "at")?.unwrap_or(now);
    let tokens = full.min(tokens + (now - at).max(0) * rate);
    if tokens < cost {
        return Ok((false, rounded_up(cost - tokens, rate)));
    }
    let tokens = tokens - cost;
    ferrite::hset(key, "tokens", tokens)?;
    ferrite::hset(key, "at", now)?;
    ferrite::expire_millis(key, rounded_up(full - tokens, rate) + 1000)?;
    Ok((true, 0))
}

fn rounded_up(amount: i64, by: i64) -> i64 {
    (amount + by - 1) / by
}
