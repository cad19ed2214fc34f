//! Finds what a request asks for beyond a grant: permissions, limits, isolation.
//!
//! A signed bundle is a grant; loading it may ask for less of each, and never for more. `ferrite-wasmc
//! diff` compares two releases by the same rules.

use crate::error::Quoted;
use crate::policy::function_spec::Isolation;
use crate::policy::limits::{LimitSettings, Limits};
use crate::policy::network::rule::NetworkRules;
use crate::policy::permissions::{Permissions, PermissionsError};
use ferrite_protocol::glob::{Glob, GlobError};

/// Describes what `asked` allows and `granted` does not, one sentence each. The list is empty if
/// `asked` only narrows.
///
/// A pattern of keys must be within one granted pattern; several that cover it only together do not
/// count.
///
/// # Errors
///
/// A pattern that does not parse.
pub fn of_permissions(
    asked: &Permissions,
    granted: &Permissions,
) -> Result<Vec<String>, PermissionsError> {
    let Permissions {
        allowed_keys,
        denied_keys,
        allowed_commands,
        allow_write,
        allow_network,
        allow_filesystem,
    } = asked;
    let mut wider = Vec::new();
    if *allow_write && !granted.allow_write {
        wider.push("allow_write is true, and was not granted".to_owned());
    }
    let (network, granted_network) = (rules(allow_network)?, rules(&granted.allow_network)?);
    for rule in network.beyond(&granted_network) {
        let rule = Quoted(rule.text().as_bytes());
        wider.push(format!(
            "allow_network has {rule}, which is not within any granted rule"
        ));
    }
    for name in allow_filesystem {
        if !granted.allow_filesystem.contains(name) {
            let name = Quoted(name.as_bytes());
            wider.push(format!(
                "allow_filesystem has {name}, which was not granted"
            ));
        }
    }
    let outside = uncovered(
        &globs("allowed_keys", allowed_keys)?,
        &globs("allowed_keys", &granted.allowed_keys)?,
    );
    for pattern in outside {
        wider.push(format!(
            "allowed_keys has {pattern}, which is not within any granted pattern"
        ));
    }
    let open = uncovered(
        &globs("denied_keys", &granted.denied_keys)?,
        &globs("denied_keys", denied_keys)?,
    );
    for pattern in open {
        wider.push(format!(
            "denied_keys lacks {pattern}, which must stay denied"
        ));
    }
    match (allowed_commands, &granted.allowed_commands) {
        (_, None) => {}
        (None, Some(_)) => wider.push(
            "allowed_commands is not given, which allows every command, and only some were granted"
                .to_owned(),
        ),
        (Some(asked), Some(granted)) => {
            for command in asked {
                if !granted.iter().any(|one| one.eq_ignore_ascii_case(command)) {
                    let command = Quoted(command.as_bytes());
                    wider.push(format!(
                        "allowed_commands has {command}, which was not granted"
                    ));
                }
            }
        }
    }
    Ok(wider)
}

/// Describes each limit that is higher in `asked` than in `granted`, one sentence each; see
/// [`LimitSettings::exceeding`]. `defaults` are those of the server.
#[must_use]
pub fn of_limits(asked: &LimitSettings, granted: &LimitSettings, defaults: &Limits) -> Vec<String> {
    asked.exceeding(granted, &defaults.settings())
}

/// Describes why `asked` is a weaker isolation than `granted`, if it is.
#[must_use]
pub fn of_isolation(asked: Isolation, granted: Isolation) -> Option<String> {
    let weaker = asked == Isolation::Reuse && granted != Isolation::Reuse;
    weaker.then(|| format!("isolation {asked} keeps memory between calls, and {granted} does not"))
}

fn rules(rules: &[String]) -> Result<NetworkRules, PermissionsError> {
    NetworkRules::parse(rules)
        .map_err(|(rule, problem)| PermissionsError::Network { rule, problem })
}

fn globs(field: &'static str, patterns: &[String]) -> Result<Vec<Glob>, PermissionsError> {
    let parse = |pattern: &String| {
        Glob::parse(pattern.as_bytes()).map_err(|problem: GlobError| PermissionsError::Glob {
            field,
            pattern: pattern.as_str().into(),
            problem,
        })
    };
    patterns.iter().map(parse).collect()
}

/// Returns the patterns that no pattern in `by` covers, as errors show them.
fn uncovered(patterns: &[Glob], by: &[Glob]) -> Vec<String> {
    patterns
        .iter()
        .filter(|pattern| !by.iter().any(|wide| wide.covers(pattern)))
        .map(|pattern| Quoted(pattern.pattern()).to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{of_isolation, of_limits, of_permissions};
    use crate::policy::function_spec::Isolation;
    use crate::policy::limits::{LimitSettings, Limits};
    use crate::policy::permissions::Permissions;

    fn permissions(asked: &str, granted: &str) -> Vec<String> {
        let read = |json: &str| Permissions::from_json(json.as_bytes()).expect("permissions");
        of_permissions(&read(asked), &read(granted)).expect("patterns")
    }

    #[test]
    fn less_is_not_wider() {
        for (asked, granted) in [
            ("{}", "{}"),
            (
                r#"{"allowed_keys":["a:1","a:2*"]}"#,
                r#"{"allowed_keys":["b","a:*"]}"#,
            ),
            (r#"{"allowed_keys":[]}"#, r#"{"allowed_keys":["b"]}"#),
            (r#"{"denied_keys":["s*"]}"#, r#"{"denied_keys":["s:x"]}"#),
            (
                r#"{"allowed_commands":["get"]}"#,
                r#"{"allowed_commands":["GET","SET"]}"#,
            ),
            (r#"{"allowed_commands":[]}"#, "{}"),
            ("{}", r#"{"allow_write":true}"#),
            (
                r#"{"allow_network":["GET https://a.example/v1/*"]}"#,
                r#"{"allow_network":["https://b.example","https://a.example"]}"#,
            ),
        ] {
            assert_eq!(permissions(asked, granted), [""; 0], "{asked} {granted}");
        }
    }

    #[test]
    fn more_is_named_by_its_rule() {
        for (asked, granted, expected) in [
            (
                r#"{"allow_write":true}"#,
                "{}",
                "allow_write is true, and was not granted",
            ),
            (
                r#"{"allow_filesystem":["a","b"]}"#,
                r#"{"allow_filesystem":["a"]}"#,
                "allow_filesystem has \"b\", which was not granted",
            ),
            (
                r#"{"allow_network":["https://a.example"]}"#,
                r#"{"allow_network":["GET https://a.example"]}"#,
                "allow_network has \"https://a.example\", which is not within any granted rule",
            ),
            (
                r#"{"allowed_keys":["*"]}"#,
                r#"{"allowed_keys":["a*"]}"#,
                "allowed_keys has \"*\", which is not within any granted pattern",
            ),
            (
                "{}",
                r#"{"denied_keys":["secret:*"]}"#,
                "denied_keys lacks \"secret:*\", which must stay denied",
            ),
            (
                r#"{"allowed_commands":["GET","FLUSHDB"]}"#,
                r#"{"allowed_commands":["GET"]}"#,
                "allowed_commands has \"FLUSHDB\", which was not granted",
            ),
            (
                "{}",
                r#"{"allowed_commands":["GET"]}"#,
                "allowed_commands is not given, which allows every command, and only some were granted",
            ),
        ] {
            assert_eq!(permissions(asked, granted), [expected]);
        }
    }

    #[test]
    fn limits_and_isolation_have_an_order() {
        let read = |json: &str| LimitSettings::from_json(json.as_bytes()).expect("limits");
        let granted = read(r#"{"max_memory":"4MB","max_time":"1s"}"#);
        let asked = read(r#"{"max_memory":"1MB","max_fuel":5}"#).or(&granted);
        assert_eq!(
            asked,
            read(r#"{"max_memory":"1MB","max_time":"1s","max_fuel":5}"#)
        );
        assert_eq!(of_limits(&asked, &granted, &Limits::DEFAULT), [""; 0]);
        let asked = read(r#"{"max_memory":"8MB"}"#);
        assert_eq!(
            of_limits(&asked, &granted, &Limits::DEFAULT),
            [
                "max_memory is 8MB, and 4MB was granted",
                "max_time is not given, which is the server's own, and 1s was granted"
            ]
        );
        let asked = read(r#"{"max_time":"60s","max_fuel":10000000,"max_stack_depth":5}"#);
        assert_eq!(
            of_limits(&asked, &read("{}"), &Limits::DEFAULT),
            ["max_time is 60s, and none was granted, which is the default of 5s"]
        );
        assert!(of_isolation(Isolation::Reuse, Isolation::Fresh).is_some());
        for (asked, granted) in [
            (Isolation::Fresh, Isolation::Reuse),
            (Isolation::Fresh, Isolation::Rewind),
            (Isolation::Rewind, Isolation::Fresh),
            (Isolation::Reuse, Isolation::Reuse),
        ] {
            assert_eq!(of_isolation(asked, granted), None);
        }
    }
}
