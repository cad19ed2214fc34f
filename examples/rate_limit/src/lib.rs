//! A rate limiter: at most so many calls in a window of so many seconds.

use ferrite_wasm_sdk::*;

/// Returns true if one more call is allowed, and counts it.
///
/// The first call of a window starts it; when it ends, the counter expires.
///
/// # Errors
///
/// Fails if the key holds something else than a counter.
#[ferrite_function]
pub fn rate_limit(key: &str, limit: i64, window_secs: i64) -> Result<bool, Error> {
    let current: i64 = ferrite::get(key)?.unwrap_or(0);

    if current >= limit {
        return Ok(false);
    }

    ferrite::incr(key)?;

    // Set expiry if this is the first request in window
    if current == 0 {
        ferrite::expire(key, window_secs)?;
    }

    Ok(true)
}

#[cfg(test)]
mod tests {
    use ferrite_wasm_sdk::entry;

    #[test]
    fn the_cases_hold() {
        example_cases::run_on_mock(&example_cases::of("rate_limit"), entry!(super::rate_limit));
    }
}
