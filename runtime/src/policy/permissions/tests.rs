//! Permissions and what they decide: data.

use smallvec::smallvec;

use super::{Access, AccessPolicy, Permissions, PermissionsError};
use crate::error::CallError;
use ferrite_protocol::keyspace::{CommandAccess, KeyAccess};

fn access_policy(json: &str) -> Result<AccessPolicy, PermissionsError> {
    const COMMANDS: [&str; 12] = [
        "GET", "SET", "DEL", "HGET", "KEYS", "FLUSHDB", "MSET", "INCRBY", "SORT", "DBSIZE", "COPY",
        "RESTORE",
    ];
    AccessPolicy::new(&Permissions::from_json(json.as_bytes())?, |name| {
        COMMANDS
            .iter()
            .any(|command| command.as_bytes().eq_ignore_ascii_case(name))
    })
}

fn say<T>(result: Result<T, super::Denied>) -> String {
    result.map_or_else(
        |denied| CallError::from(denied).to_string(),
        |_| "ok".to_owned(),
    )
}

#[test]
fn the_default_reads_every_key_and_writes_none() {
    let access_policy =
        AccessPolicy::new(&Permissions::default(), |_| true).expect("the default is right");
    assert!(!access_policy.may_write());
    for access in Access::ALL {
        let answer = access_policy.check_key(b"any", access);
        assert_eq!(answer.is_ok(), !access.writes(), "{access:?}");
        assert!(answer.map_or_else(|denied| denied.is_read_only(), |()| true));
    }
    assert_eq!(
        say(access_policy.check_key(b"any", Access::Increment)),
        "NOPERM command \"INCRBY\" writes, and the function may only read; load it with allow_write"
    );
}

#[test]
fn keys_are_decided_by_patterns_and_deny_wins() -> Result<(), PermissionsError> {
    let access_policy = access_policy(
        r#"{"allowed_keys": ["user:*", "cfg"], "denied_keys": ["user:*:password"], "allow_write": true}"#,
    )?;
    for (key, expected) in [
        ("user:1", "ok"),
        ("cfg", "ok"),
        (
            "user:1:password",
            r#"NOPERM key "user:1:password" is denied: it matches "user:*:password" in denied_keys"#,
        ),
        (
            "cfgs",
            r#"NOPERM key "cfgs" is not allowed: it matches nothing in allowed_keys"#,
        ),
        (
            "",
            r#"NOPERM key "" is not allowed: it matches nothing in allowed_keys"#,
        ),
    ] {
        assert_eq!(
            say(access_policy.check_key(key.as_bytes(), Access::Get)),
            expected
        );
        assert_eq!(
            say(access_policy.check_key(key.as_bytes(), Access::Set)),
            expected
        );
        assert_eq!(access_policy.visible(key.as_bytes()), expected == "ok");
    }
    Ok(())
}

#[test]
fn denied_keys_alone_leave_the_others_open() -> Result<(), PermissionsError> {
    let access_policy = access_policy(r#"{"denied_keys": ["secret*"]}"#)?;
    assert!(access_policy.visible(b"open") && !access_policy.visible(b"secret"));
    Ok(())
}

#[test]
fn commands_are_decided_by_name_and_by_their_keys() -> Result<(), PermissionsError> {
    let restricted = access_policy(
        r#"{"allowed_keys": ["a*"], "allowed_commands": ["get", "MSET", "KEYS", "dbsize", "flushdb", "sort", "copy"], "allow_write": true}"#,
    )?;
    let read = |keys| CommandAccess::new(false, keys);
    let write = |keys| CommandAccess::new(true, keys);
    for (argv, access, expected) in [
        (&["get", "a1"][..], read(KeyAccess::At(smallvec![1])), "ok"),
        (
            &["GET", "b1"],
            read(KeyAccess::At(smallvec![1])),
            r#"NOPERM key "b1" is not allowed: it matches nothing in allowed_keys"#,
        ),
        (
            &["MSET", "a1", "v", "b", "v"],
            write(KeyAccess::At(smallvec![1, 3])),
            r#"NOPERM key "b" is not allowed: it matches nothing in allowed_keys"#,
        ),
        (
            &["SET", "a1", "v"],
            write(KeyAccess::At(smallvec![1])),
            r#"NOPERM command "SET" is not allowed: it is not in allowed_commands"#,
        ),
        (&["KEYS", "*"], read(KeyAccess::Listed), "ok"),
        (
            &["FLUSHDB"],
            write(KeyAccess::All),
            r#"NOPERM command "FLUSHDB" concerns every key, and the function's keys are restricted; KEYS and SCAN show those that it may access"#,
        ),
        (
            &["DBSIZE"],
            read(KeyAccess::All),
            r#"NOPERM command "DBSIZE" concerns every key, and the function's keys are restricted; KEYS and SCAN show those that it may access"#,
        ),
        (
            &["COPY", "a1", "a2", "DB", "1"],
            CommandAccess {
                other_database: true,
                ..write(KeyAccess::At(smallvec![1, 2]))
            },
            r#"NOPERM command "COPY" reaches into another database, and the function's keys are restricted"#,
        ),
        (
            &["SORT", "a1", "BY", "w*"],
            write(KeyAccess::Unknown),
            r#"NOPERM command "SORT" does not tell which keys it touches, and the function's keys are restricted"#,
        ),
        (
            &["GET"],
            read(KeyAccess::At(smallvec![1])),
            r#"NOPERM command "GET" does not tell which keys it touches, and the function's keys are restricted"#,
        ),
    ] {
        let argv: Vec<&[u8]> = argv.iter().map(|part| part.as_bytes()).collect();
        assert_eq!(
            say(restricted.check_command(argv[0], &access, &argv)),
            expected
        );
    }
    let open = access_policy(r#"{"allow_write": true}"#)?;
    assert_eq!(
        say(open.check_command(b"FLUSHDB", &write(KeyAccess::All), &[b"FLUSHDB"])),
        "ok"
    );
    assert_eq!(
        say(open.check_command(b"SORT", &write(KeyAccess::Unknown), &[b"SORT"])),
        "ok"
    );
    let parsed = CommandAccess {
        named_only: true,
        ..write(KeyAccess::At(smallvec![1]))
    };
    let restore: [&[u8]; 4] = [b"RESTORE", b"a1", b"0", b"payload"];
    assert_eq!(
        say(open.check_command(restore[0], &parsed, &restore)),
        r#"NOPERM command "RESTORE" is run only for functions whose allowed_commands name it: it hands bytes of the function's to the server's own parser"#
    );
    let named = access_policy(r#"{"allow_write": true, "allowed_commands": ["restore"]}"#)?;
    assert_eq!(
        say(named.check_command(restore[0], &parsed, &restore)),
        "ok"
    );
    let reader = access_policy("{}")?;
    assert_eq!(
        say(reader.check_command(b"SET", &write(KeyAccess::None), &[b"SET"])),
        r#"NOPERM command "SET" writes, and the function may only read; load it with allow_write"#
    );
    Ok(())
}

#[test]
fn host_functions_count_as_the_commands_they_stand_for() -> Result<(), PermissionsError> {
    let access_policy =
        access_policy(r#"{"allowed_commands": ["GET", "DEL"], "allow_write": true}"#)?;
    assert_eq!(say(access_policy.check_key(b"k", Access::Get)), "ok");
    assert_eq!(say(access_policy.check_key(b"k", Access::Delete)), "ok");
    assert_eq!(
        say(access_policy.check_key(b"k", Access::HashGet)),
        r#"NOPERM command "HGET" is not allowed: it is not in allowed_commands"#
    );
    Ok(())
}

#[test]
fn a_host_function_is_allowed_by_any_command_that_can_do_the_same() -> Result<(), PermissionsError>
{
    const EVERY: [Access; 12] = Access::ALL;
    for (command, allowed) in [
        ("GET", &[Access::Get][..]),
        ("MGET", &[Access::Get]),
        ("SET", &[Access::Set]),
        // They cannot write a string that stays, or only one that is new.
        ("SETEX", &[]),
        ("SETNX", &[]),
        ("DEL", &[Access::Delete]),
        ("UNLINK", &[Access::Delete]),
        ("EXISTS", &[Access::Exists]),
        ("INCR", &[Access::IncrementByOne]),
        ("DECR", &[Access::DecrementByOne]),
        (
            "INCRBY",
            &[
                Access::Increment,
                Access::IncrementByOne,
                Access::DecrementByOne,
            ],
        ),
        (
            "DECRBY",
            &[
                Access::Increment,
                Access::IncrementByOne,
                Access::DecrementByOne,
            ],
        ),
        ("EXPIRE", &[Access::Expire]),
        ("PEXPIRE", &[Access::Expire]),
        ("TTL", &[Access::Ttl]),
        ("PTTL", &[Access::Ttl]),
        ("HGET", &[Access::HashGet]),
        ("HMGET", &[Access::HashGet]),
        ("HSET", &[Access::HashSet]),
        ("HMSET", &[Access::HashSet]),
        ("HDEL", &[Access::HashDelete]),
    ] {
        let json = format!(r#"{{"allowed_commands": ["{command}"], "allow_write": true}}"#);
        let access_policy = AccessPolicy::new(&Permissions::from_json(json.as_bytes())?, |_| true)?;
        for access in EVERY {
            assert_eq!(
                access_policy.check_key(b"k", access).is_ok(),
                allowed.contains(&access),
                "{command} and {access:?}"
            );
        }
    }
    for (delta, access) in [
        (1, Access::IncrementByOne),
        (-1, Access::DecrementByOne),
        (0, Access::Increment),
        (2, Access::Increment),
        (i64::MIN, Access::Increment),
    ] {
        assert_eq!(Access::increment(delta), access);
    }
    Ok(())
}

#[test]
fn named_permissions_are_what_they_are_called() {
    for name in Permissions::NAMES {
        let permissions = Permissions::named(name).expect("every name stands for something");
        let access_policy = AccessPolicy::new(&permissions, |_| true).expect("and is right");
        assert_eq!(access_policy.may_write(), name == "read-write");
        assert_eq!(
            access_policy.check_key(b"k", Access::Get).is_ok(),
            name != "none"
        );
    }
    assert_eq!(Permissions::named("all"), None);
    let unknown = Permissions::from_option(b"readwrite").expect_err("no name is written so");
    assert_eq!(
        unknown.to_string(),
        "permissions: \"readwrite\" is none of read-only, read-write, none, and no JSON object such as {\"allow_write\": true}"
    );
}

#[test]
fn what_is_wrong_is_said_at_load() {
    let many = format!(r#"{{"allowed_keys": [{}"a"]}}"#, "\"a\",".repeat(1024));
    for (json, expected) in [
        (
            r#"{"allow_network": true}"#,
            "permissions: field \"allow_network\": the network is not allowed as a whole; list what is needed, such as [\"https://api.example.com/v1/*\"]",
        ),
        (
            r#"{"allow_filesystem": true}"#,
            "permissions: field \"allow_filesystem\": files are not allowed as a whole; list the directories that are needed, such as [\"models\"]",
        ),
        (
            r#"{"allow_network": "https://api.example.com"}"#,
            "permissions: field \"allow_network\": invalid type: string \"https://api.example.com\", expected false or a list such as [\"https://api.example.com/v1/*\"]",
        ),
        (
            r#"{"allow_network": ["https://user@example.com"]}"#,
            "permissions: rule \"https://user@example.com\" in allow_network: the host \"user@example.com\" is neither a name, an address, *.NAME nor *, or it has a user name or a wrong port",
        ),
        (
            r#"{"allowed_keys": "user:*"}"#,
            "permissions: field \"allowed_keys\": invalid type: string \"user:*\", expected a sequence",
        ),
        (
            r#"{"allowed_key": []}"#,
            "permissions: unknown field \"allowed_key\"; did you mean \"allowed_keys\"?",
        ),
        (
            r#"{"denied_keys": ["user:["]}"#,
            "permissions: pattern \"user:[\" in denied_keys: the [ at byte 5 is not closed; write \\[ for the character itself",
        ),
        (
            r#"{"allowed_commands": ["GTE"]}"#,
            "permissions: unknown command \"GTE\" in allowed_commands; COMMAND LIST shows those there are",
        ),
        (
            many.as_str(),
            "permissions: allowed_keys has 1025 items, the limit is 1024",
        ),
    ] {
        let error = access_policy(json).expect_err(json);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn what_is_written_reads_back() {
    for json in [
        r#"{"allowed_keys":["*"],"denied_keys":[],"allow_write":false,"allow_network":false}"#,
        r#"{"allowed_keys":["*"],"denied_keys":[],"allow_write":false,"allow_network":["GET https://a.example/*"]}"#,
        r#"{"allowed_keys":["*"],"denied_keys":[],"allow_write":false,"allow_network":false,"allow_filesystem":["models"]}"#,
        r#"{"allowed_keys":["a"],"denied_keys":["b"],"allowed_commands":["GET"],"allow_write":true,"allow_network":false}"#,
    ] {
        let read = Permissions::from_json(json.as_bytes()).expect("it was written");
        assert_eq!(read.to_json(), json);
    }
}

#[test]
fn whole_values_are_read_by_commands_of_their_type() -> Result<(), PermissionsError> {
    let types = ["string", "list", "hash", "set", "zset", "stream"];
    for (json, readable) in [
        ("{}", &types[..]),
        (r#"{"allowed_commands": []}"#, &[]),
        (r#"{"allowed_commands": ["DEL", "HGET", "SET"]}"#, &[]),
        (r#"{"allowed_commands": ["get"]}"#, &["string"]),
        (
            r#"{"allowed_commands": ["GETRANGE", "LRANGE", "HGETALL", "SSCAN", "zrange"]}"#,
            &types[..5],
        ),
    ] {
        let permissions = Permissions::from_json(json.as_bytes())?;
        let mut found = types.to_vec();
        found.retain(|type_name| permissions.may_read_values(type_name));
        assert_eq!(found, readable, "{json}");
    }
    Ok(())
}
