//! The key by which a request finds its node.

/// Returns the first key of a request; `None` for a command without keys.
///
/// A command that is not known here is taken to have its key first, as nearly all have. A wrong guess costs
/// one redirection, and a command without keys runs on any node.
pub(super) fn first_key<'r>(argv: &[&'r [u8]]) -> Option<&'r [u8]> {
    let mut upper = [0; 16];
    let name = argv.first()?;
    let name = match upper.get_mut(..name.len()) {
        Some(upper) => {
            upper.copy_from_slice(name);
            upper.make_ascii_uppercase();
            &*upper
        }
        // No command without keys has such a long name.
        None => name,
    };
    let at = |index: usize| argv.get(index).copied();
    let after = |word: &str| {
        let position = argv
            .iter()
            .position(|one| one.eq_ignore_ascii_case(word.as_bytes()));
        at(position? + 1)
    };
    // The key follows the number of keys.
    let counted = |count: usize| match at(count)? {
        b"0" => None,
        _ => at(count + 1),
    };
    match name {
        b"PING" | b"ECHO" | b"AUTH" | b"HELLO" | b"SELECT" | b"QUIT" | b"RESET" | b"CLIENT"
        | b"COMMAND" | b"CONFIG" | b"INFO" | b"TIME" | b"ROLE" | b"LOLWUT" | b"ACL"
        | b"LATENCY" | b"SLOWLOG" | b"COMMANDLOG" | b"MODULE" | b"CLUSTER" | b"READONLY"
        | b"READWRITE" | b"ASKING" | b"MULTI" | b"EXEC" | b"DISCARD" | b"UNWATCH"
        | b"SUBSCRIBE" | b"PSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"PUBLISH"
        | b"PUBSUB" | b"MONITOR" | b"SYNC" | b"PSYNC" | b"REPLCONF" | b"REPLICAOF" | b"SLAVEOF"
        | b"FAILOVER" | b"SHUTDOWN" | b"SAVE" | b"BGSAVE" | b"BGREWRITEAOF" | b"LASTSAVE"
        | b"DBSIZE" | b"KEYS" | b"SCAN" | b"RANDOMKEY" | b"FLUSHALL" | b"FLUSHDB" | b"SWAPDB"
        | b"SCRIPT" | b"FUNCTION" | b"WAIT" | b"WAITAOF" => None,
        b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL" | b"FCALL_RO" | b"BLMPOP"
        | b"BZMPOP" => counted(2),
        b"ZUNION" | b"ZINTER" | b"ZDIFF" | b"ZINTERCARD" | b"SINTERCARD" | b"LMPOP" | b"ZMPOP" => {
            counted(1)
        }
        b"XREAD" | b"XREADGROUP" => after("STREAMS"),
        b"BITOP" | b"OBJECT" | b"XINFO" | b"XGROUP" | b"DEBUG" => at(2),
        b"MEMORY" => match at(1)? {
            word if word.eq_ignore_ascii_case(b"USAGE") => at(2),
            _ => None,
        },
        b"MIGRATE" => match at(3)? {
            b"" => after("KEYS"),
            key => Some(key),
        },
        _ => at(1),
    }
}

#[cfg(test)]
mod tests {
    use super::first_key;

    #[test]
    fn the_key_is_found_wherever_it_stands() {
        for (line, key) in [
            ("GET a", Some("a")),
            ("mset a 1 b 2", Some("a")),
            ("JSON.SET a $ 1", Some("a")),
            ("A.COMMAND.WITH.A.LONG.NAME a", Some("a")),
            ("GET", None),
            ("PING a", None),
            ("flushall", None),
            ("PUBLISH a b", None),
            ("SPUBLISH a b", Some("a")),
            ("EVAL text 2 a b", Some("a")),
            ("evalsha digest 0 a", None),
            ("FCALL f 1 a", Some("a")),
            ("BLMPOP 0 1 a LEFT", Some("a")),
            ("ZUNION 2 a b", Some("a")),
            ("XREAD COUNT 1 streams a 0", Some("a")),
            ("XREADGROUP GROUP g c STREAMS a >", Some("a")),
            ("XREAD COUNT 1", None),
            ("BITOP AND a b", Some("a")),
            ("OBJECT ENCODING a", Some("a")),
            ("MEMORY USAGE a", Some("a")),
            ("MEMORY DOCTOR", None),
            ("MIGRATE h 1 a 0 5", Some("a")),
        ] {
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(first_key(&argv), key.map(str::as_bytes), "{line}");
        }
        let migrate = [&b"MIGRATE"[..], b"h", b"1", b"", b"0", b"5", b"KEYS", b"a"];
        assert_eq!(first_key(&migrate), Some(&b"a"[..]));
        assert_eq!(first_key(&[]), None);
    }
}
