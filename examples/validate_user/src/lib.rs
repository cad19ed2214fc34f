//! Checks what a user asks to do against the user's record: JSON in, a hash in the store, a map out.

use std::collections::BTreeMap;

use ferrite_wasm_sdk::*;
use serde::Deserialize;

/// Request of a user: `{"action": "login"}`. Other members are ignored.
#[derive(Deserialize)]
pub struct Request {
    /// One of `ACTIONS`.
    pub action: String,
}

/// Everything that can be asked for.
const ACTIONS: [&str; 4] = ["login", "read", "write", "delete"];

/// The answer: whether the user may do it, and why not.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// True if the user may do it.
    pub allowed: bool,
    /// `ok`, or what speaks against it.
    pub reason: String,
}

impl Reply for Verdict {
    fn reply(&self) {
        Value::Map(vec![
            (Value::from("allowed"), Value::Bool(self.allowed)),
            (Value::from("reason"), Value::from(self.reason.as_str())),
        ])
        .reply();
    }
}

fn refused(reason: impl Into<String>) -> Result<Verdict, Error> {
    Ok(Verdict {
        allowed: false,
        reason: reason.into(),
    })
}

/// Decides if the user at `key` may do what the request says. Counts and dates a login.
///
/// # Errors
///
/// `BADACTION` where the action is unknown, and where the key holds something else than a user.
#[ferrite_function]
pub fn validate_user(key: &str, request: Json<Request>) -> Result<Verdict, Error> {
    let action = request.0.action.as_str();
    if !ACTIONS.contains(&action) {
        let known = ACTIONS.join(", ");
        return Err(Error::new(format!("BADACTION {action} is none of {known}")));
    }

    let user: BTreeMap<String, String> = ferrite::hgetall(key)?;
    let Some(status) = user.get("status") else {
        return refused("unknown user");
    };
    if status != "active" {
        return refused(format!("account is {status}"));
    }

    let role = user.get("role").map_or("viewer", String::as_str);
    let allowed = match role {
        "admin" => &ACTIONS[..],
        "editor" => &["login", "read", "write"],
        _ => &["login", "read"],
    };
    if !allowed.contains(&action) {
        return refused(format!("role {role} may not {action}"));
    }

    if action == "login" {
        ferrite::call::<i64>("HINCRBY", (key, "logins", 1))?;
        ferrite::hset(key, "last_login", ferrite::time_millis())?;
    }
    Ok(Verdict {
        allowed: true,
        reason: "ok".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use ferrite_wasm_sdk::entry;

    #[test]
    fn the_cases_hold() {
        example_cases::run_on_mock(
            &example_cases::of("validate_user"),
            entry!(super::validate_user),
        );
    }
}
