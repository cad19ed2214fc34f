//! `OBJECT`: the encoding and reference count of a value.

use crate::commands::spec::{Answer, Argv, Keys, Out, READONLY, commands};
use crate::error::StoreError;
use crate::execution::view::{Live, View};
use crate::value::Value;
use crate::value::text::Text;
use ferrite_protocol::number::parse_integer;

commands! {
    "object", -2, READONLY, Keys::Positions { first: 2, last: 2, step: 1 } => object,
        "generic", "subcommand [key]",
        "Tells how a value is kept.", SUBCOMMANDS;
}

const SUBCOMMANDS: &[(&str, i32)] = &[
    ("encoding", 3),
    ("freq", 3),
    ("help", 2),
    ("idletime", 3),
    ("refcount", 3),
];

/// Longest string that Redis stores in one block with its header, in bytes.
const EMBEDDED_LEN_MAX: usize = 44;
/// Most elements, and longest element in bytes, of Redis's compact encodings.
const COMPACT_LEN_MAX: usize = 128;
const COMPACT_BYTES_MAX: usize = 64;
/// Most members of Redis's sets of integers.
const INTEGERS_LEN_MAX: usize = 512;

const HELP: [&str; 14] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
];

/// The encoding that Redis would most likely use.
fn encoding(value: &Value) -> &'static str {
    let short = |bytes: &[u8]| bytes.len() <= COMPACT_BYTES_MAX;
    match value {
        Value::Text(Text::Grown { .. }) => "raw",
        Value::Text(text) if parse_integer(text.as_slice()).is_some() => "int",
        Value::Text(text) if text.len() <= EMBEDDED_LEN_MAX => "embstr",
        Value::Text(_) => "raw",
        Value::List(list) => {
            let compact = list.data.len() <= COMPACT_LEN_MAX && list.data.iter().all(|e| short(e));
            if compact { "listpack" } else { "quicklist" }
        }
        Value::Hash(hash) if hash.data.is_packed() && hash.data.earliest_deadline().is_never() => {
            "listpack"
        }
        Value::Hash(_) => "hashtable",
        Value::Set(set) => {
            let set = &set.data;
            let integers = set.len() <= INTEGERS_LEN_MAX
                && set
                    .iter()
                    .all(|(member, ())| parse_integer(member).is_some());
            match (integers, set.is_packed()) {
                (true, _) => "intset",
                (false, true) => "listpack",
                (false, false) => "hashtable",
            }
        }
        Value::Zset(zset) => {
            let zset = &zset.data;
            let compact =
                zset.len() <= COMPACT_LEN_MAX && zset.iter().all(|(member, _)| short(member));
            if compact { "listpack" } else { "skiplist" }
        }
    }
}

fn object<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let subcommand = argv[1].to_ascii_lowercase();
    let tell: fn(&Live<'_>, Out<'_>) -> Answer = match (subcommand.as_slice(), argv.len()) {
        (b"help", 2) => {
            out.array(HELP.len() + 1);
            HELP.iter().for_each(|line| out.simple(line));
            out.simple("    Print this help.");
            return Ok(());
        }
        (b"encoding", 3) => |live, out| {
            out.bulk(encoding(live.value).as_bytes());
            Ok(())
        },
        (b"refcount", 3) => |_, out| {
            out.int(1);
            Ok(())
        },
        // Nothing is evicted, so the time of the last access is not recorded.
        (b"idletime", 3) => |_, out| {
            out.int(0);
            Ok(())
        },
        (b"freq", 3) => |_, _| {
            Err(StoreError::Refused(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                 Please note that when switching between policies at runtime LRU and LFU data \
                 will take some time to adjust.",
            ))
        },
        // The shape of the request was checked.
        _ => return Err(StoreError::Syntax),
    };
    match view.get(argv[2])? {
        Some(live) => tell(&live, out),
        None => {
            out.null();
            Ok(())
        }
    }
}
