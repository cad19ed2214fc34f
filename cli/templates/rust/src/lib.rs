//! Functions that are called beside the data.

use ferrite_wasm_sdk::*;

/// At most `limit` calls in a window of so many seconds.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_counts() {
        let store = mock::Store::new();
        assert_eq!(rate_limit("api:1", 1, 60), Ok(true));
        assert_eq!(rate_limit("api:1", 1, 60), Ok(false));
        store.advance_millis(60_000);
        assert_eq!(rate_limit("api:1", 1, 60), Ok(true));
    }

    #[test]
    fn input_that_does_not_fit_is_refused() {
        let store = mock::Store::new();
        let reply = store.call(entry!(rate_limit), ["api:1"], ["two", "60"]);
        let expected = "ERR rate_limit: 'limit' (ARGS[1], i64) must be a 64-bit integer, not \"two\"";
        assert_eq!(reply, Value::Error(expected.into()));
    }
}
