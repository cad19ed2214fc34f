//! A secondary index that is never out of date: the users of each city, kept in the transaction that writes
//! the user.
//!
//! `BEFORE` is a matter of `ferrite-server` with its own store. In Valkey and Redis, leave the word out: the
//! index then follows a moment later.

use std::collections::BTreeMap;

use ferrite_wasm_sdk::*;

/// Keeps `city:CITY`, the set of the users whose field `city` has this value, together with `user:*`.
///
/// # Errors
///
/// `BADUSER` where a user is no hash; then the write is refused.
#[ferrite_function]
#[ferrite::on(keys = "user:*", events = ["hset", "hdel", "del", "set", "rename_from", "rename_to"], before)]
#[ferrite::on(keys = "user:*", events = "expired")]
pub fn index(
    user: &str,
    _event: &str,
    old_type: &str,
    old: &[u8],
    new_type: &str,
    new: &[u8],
    _rest: Vec<&[u8]>,
) -> Result<(), Error> {
    let before = city(user, old_type, old)?;
    let after = city(user, new_type, new)?;
    if before == after {
        return Ok(());
    }
    if let Some(city) = before {
        ferrite::call::<i64>("SREM", (format!("city:{city}"), user))?;
    }
    if let Some(city) = after {
        ferrite::call::<i64>("SADD", (format!("city:{city}"), user))?;
    }
    Ok(())
}

/// The city in the value of a user, if there is one.
fn city(user: &str, kind: &str, value: &[u8]) -> Result<Option<String>, Error> {
    match kind {
        "none" => Ok(None),
        "hash" => {
            let mut fields: BTreeMap<String, String> = ferrite::node_reply(value)?;
            Ok(fields.remove("city"))
        }
        _ => Err(Error::new(format!("BADUSER {user} must be a hash"))),
    }
}

#[cfg(test)]
mod tests {
    use super::index;
    use ferrite_wasm_sdk::mock::Store;
    use ferrite_wasm_sdk::{Error, ferrite};

    const NONE: (&str, &str) = ("none", "");
    const BERN: (&str, &str) = ("hash", "*2\r\n$4\r\ncity\r\n$4\r\nBern\r\n");
    const BASEL: (&str, &str) = ("hash", "*2\r\n$4\r\ncity\r\n$5\r\nBasel\r\n");

    fn change(old: (&str, &str), new: (&str, &str)) -> Result<(), Error> {
        index(
            "user:1",
            "hset",
            old.0,
            old.1.as_bytes(),
            new.0,
            new.1.as_bytes(),
            vec![],
        )
    }

    fn is_in(city: &str) -> bool {
        let found = ferrite::call::<i64>("SISMEMBER", (format!("city:{city}"), "user:1"));
        found == Ok(1)
    }

    #[test]
    fn a_user_is_in_the_set_of_its_city() {
        let _store = Store::new();
        assert_eq!(change(NONE, BERN), Ok(()));
        assert!(is_in("Bern") && !is_in("Basel"));
        assert_eq!(change(BERN, BASEL), Ok(()));
        assert!(!is_in("Bern") && is_in("Basel"));
        assert_eq!(change(BASEL, NONE), Ok(()));
        assert!(!is_in("Basel"));
        let error = change(NONE, ("string", "x")).expect_err("no hash");
        assert!(error.to_string().starts_with("BADUSER user:1"), "{error}");
    }
}
