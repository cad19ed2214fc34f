//! Commands that another command undoes, so that the key they change need not be put aside.
//!
//! To put a key aside is to have the server write its whole value down, which takes longer than to add
//! to a counter. What adds is undone by taking away the same, or by deleting what was not there before.

use crate::api::context::Context;
use crate::api::key::Kind;
use crate::transaction::call::Call;

/// A command that adds to a counter.
struct Adds {
    name: &'static str,
    words: usize,
    /// Whether the counter is a field of a hash.
    field: bool,
    /// What is added where the last word does not say it.
    by: Option<i64>,
    /// Whether the last word is taken away.
    negative: bool,
}

const ADDS: [Adds; 5] = [
    Adds {
        name: "HINCRBY",
        words: 4,
        field: true,
        by: None,
        negative: false,
    },
    Adds {
        name: "INCR",
        words: 2,
        field: false,
        by: Some(1),
        negative: false,
    },
    Adds {
        name: "DECR",
        words: 2,
        field: false,
        by: Some(-1),
        negative: false,
    },
    Adds {
        name: "INCRBY",
        words: 3,
        field: false,
        by: None,
        negative: false,
    },
    Adds {
        name: "DECRBY",
        words: 3,
        field: false,
        by: None,
        negative: true,
    },
];

/// The command that undoes `argv`, should it succeed now; `None` where there is none, or where the key
/// holds something else than such a command is for.
pub(crate) fn inverse(context: Context<'_>, call: &Call, argv: &[&[u8]]) -> Option<Vec<Box<[u8]>>> {
    let adds = ADDS.iter().find(|adds| {
        adds.words == argv.len() && adds.name.as_bytes().eq_ignore_ascii_case(argv[0])
    })?;
    let undo = taken_away(adds, argv)?.to_string();
    let key = call.key(argv[1]);
    let name = call.string(context, &key);
    let open = context.open_to_read(name.borrow());
    let kind = open.as_ref().map_or(Kind::Nothing, |open| open.kind());
    let words: &[&[u8]] = match (adds.field, kind) {
        (false, Kind::Nothing) => &[b"DEL", argv[1]],
        (false, Kind::String) => &[b"INCRBY", argv[1], undo.as_bytes()],
        // A hash goes with its last field.
        (true, Kind::Nothing) => &[b"HDEL", argv[1], argv[2]],
        (true, Kind::Hash) => {
            let field = context.string(argv[2]);
            if open?.has_field(field.borrow()) {
                &[b"HINCRBY", argv[1], argv[2], undo.as_bytes()]
            } else {
                &[b"HDEL", argv[1], argv[2]]
            }
        }
        _ => return None,
    };
    Some(words.iter().map(|&word| word.into()).collect())
}

/// What is to be added again to undo the command.
fn taken_away(adds: &Adds, argv: &[&[u8]]) -> Option<i64> {
    let by = match adds.by {
        Some(by) => by,
        None => std::str::from_utf8(argv.last()?).ok()?.parse().ok()?,
    };
    if adds.negative {
        Some(by)
    } else {
        by.checked_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::{ADDS, taken_away};

    fn undo(argv: &[&[u8]]) -> Option<i64> {
        let name = argv[0];
        let adds = ADDS.iter().find(|adds| adds.name.as_bytes() == name)?;
        taken_away(adds, argv)
    }

    #[test]
    fn what_was_added_is_taken_away() {
        assert_eq!(undo(&[b"HINCRBY", b"h", b"f", b"7"]), Some(-7));
        assert_eq!(undo(&[b"INCRBY", b"k", b"-7"]), Some(7));
        assert_eq!(undo(&[b"DECRBY", b"k", b"7"]), Some(7));
        assert_eq!(
            undo(&[b"DECRBY", b"k", b"-9223372036854775808"]),
            Some(i64::MIN)
        );
        assert_eq!(undo(&[b"INCR", b"k"]), Some(-1));
        assert_eq!(undo(&[b"DECR", b"k"]), Some(1));
        assert_eq!(undo(&[b"INCRBY", b"k", b"-9223372036854775808"]), None);
        assert_eq!(undo(&[b"INCRBY", b"k", b"many"]), None);
        assert_eq!(undo(&[b"APPEND", b"k", b"1"]), None);
    }
}
