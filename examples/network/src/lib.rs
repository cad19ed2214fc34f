//! Functions that talk to other servers: a webhook that is sent after the commit, and a value with a
//! cache.
//!
//! Addresses and the secret are in the function's configuration:
//! `CONFIG '{"shop_url": "https://shop.example.com", "shop_token": "…", "rates_url": "https://rates.example.com"}'`.

use ferrite_wasm_sdk::*;

/// Time for which a rate is kept.
const RATE_SECS: i64 = 600;

fn setting(name: &str) -> Result<String, Error> {
    let value = ferrite::config(name)?;
    value.ok_or_else(|| Error::new(format!("NOCONFIG set {name} with WASM.CONFIG")))
}

/// Marks an order as paid and tells the shop of it, once: replies false if it was paid before.
///
/// The shop is told only if the order is really marked, and the order's key lets it recognise a message
/// that comes twice.
///
/// # Errors
///
/// `NOORDER` where there is no such order, `NOCONFIG` where the address or the token is not set.
#[ferrite_function]
pub fn pay(order: &str) -> Result<bool, Error> {
    match ferrite::hget::<String>(order, "status")?.as_deref() {
        None => return Err(Error::new(format!("NOORDER there is no order {order}"))),
        Some("paid") => return Ok(false),
        Some(_) => {}
    }
    ferrite::hset(order, "status", "paid")?;
    http::post(format!("{}/orders/paid", setting("shop_url")?))
        .header(
            "authorization",
            format!("Bearer {}", setting("shop_token")?),
        )
        .header("idempotency-key", order)
        .body(order)
        .after_commit()?;
    Ok(true)
}

/// Replies the rate of a currency. The other server is asked at most once in ten minutes, as long as the
/// cache holds the rate.
///
/// # Errors
///
/// `BADCURRENCY` if it is not three letters, `NORATE` if the other server has none, and the reason why it
/// cannot be asked.
#[ferrite_function]
pub fn rate(cache: &str, currency: &str) -> Result<f64, Error> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(Error::new("BADCURRENCY give three letters, such as chf"));
    }
    if let Some(rate) = ferrite::get(cache)? {
        return Ok(rate);
    }
    let url = format!("{}/v1/{currency}", setting("rates_url")?);
    let response = http::get(url).timeout_millis(500).send()?;
    if !response.is_success() {
        let status = response.status();
        return Err(Error::new(format!("NORATE the status is {status}")));
    }
    let rate: f64 = response.text()?.trim().parse()?;
    let kept = ferrite::SetOptions::new().ttl_secs(RATE_SECS);
    ferrite::set_with(cache, rate, kept)?;
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::{pay, rate};
    use ferrite_wasm_sdk::mock::Store;

    #[test]
    fn the_shop_is_told_once() {
        let store = Store::new();
        store.command(&["HSET", "order:1", "status", "open"]);
        let error = pay("order:1").expect_err("it does not know the shop");
        assert!(
            error.to_string().starts_with("NOCONFIG set shop_url"),
            "{error}"
        );
        let store = Store::new();
        store.command(&["HSET", "order:1", "status", "open"]);
        store.configure("shop_url", "https://shop.example.com");
        store.configure("shop_token", "s3cret");
        assert_eq!(pay("order:1"), Ok(true));
        assert_eq!(pay("order:1"), Ok(false));
        let error = pay("order:2").expect_err("there is none");
        assert!(error.to_string().starts_with("NOORDER "), "{error}");
        let url = "https://shop.example.com/orders/paid".to_owned();
        let told = ("POST".to_owned(), url, b"order:1".to_vec());
        assert_eq!(store.after_commit(), [told]);
    }

    #[test]
    fn a_rate_is_asked_for_when_the_cache_has_none() {
        let store = Store::new();
        store.configure("rates_url", "https://rates.example.com");
        store.respond("GET", "https://rates.example.com/v1/chf", 200, "0.93\n");
        for _ in 0..2 {
            assert_eq!(rate("rate:chf", "chf"), Ok(0.93));
        }
        assert_eq!(store.requests().len(), 1);
        store.advance_millis(600_001);
        assert_eq!(rate("rate:chf", "chf"), Ok(0.93));
        assert_eq!(store.requests().len(), 2);
        for wrong in ["", "chfx", "../", "CHF"] {
            assert!(rate("rate:x", wrong).is_err(), "{wrong}");
        }
        assert_eq!(store.requests().len(), 2);
    }
}
