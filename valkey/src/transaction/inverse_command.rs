//! Undoes commands on counters by other commands, so that the key need not be saved.
//!
//! Saving a key makes the server write down the whole value, which takes longer than adding to a
//! counter. An addition is undone by subtracting the same amount, or by deleting what was not there
//! before.

use ferrite_protocol::argv::OwnedArgv;

use crate::api::context::Context;
use crate::api::key::ValueKind;
use crate::api::string::Named;

/// A command that adds to a counter.
struct CounterCommand {
    name: &'static str,
    /// Number of arguments, with the name.
    args: usize,
    /// True if the counter is a field of a hash.
    in_hash: bool,
    /// The amount that is added; `None` if it is the last argument.
    amount: Option<i64>,
    /// True if the amount is subtracted.
    subtracts: bool,
}

const COUNTER_COMMANDS: [CounterCommand; 5] = [
    CounterCommand {
        name: "HINCRBY",
        args: 4,
        in_hash: true,
        amount: None,
        subtracts: false,
    },
    CounterCommand {
        name: "INCR",
        args: 2,
        in_hash: false,
        amount: Some(1),
        subtracts: false,
    },
    CounterCommand {
        name: "DECR",
        args: 2,
        in_hash: false,
        amount: Some(-1),
        subtracts: false,
    },
    CounterCommand {
        name: "INCRBY",
        args: 3,
        in_hash: false,
        amount: None,
        subtracts: false,
    },
    CounterCommand {
        name: "DECRBY",
        args: 3,
        in_hash: false,
        amount: None,
        subtracts: true,
    },
];

/// Returns the command that undoes `argv` if `argv` succeeds now. Returns `None` if there is no
/// such command, or if the key holds a value of another type.
///
/// `words` are those of `argv` after its name.
pub(crate) fn inverse(
    context: Context<'_>,
    argv: &[&[u8]],
    words: &[Named<'_>],
) -> Option<OwnedArgv> {
    let command = COUNTER_COMMANDS.iter().find(|command| {
        command.args == argv.len() && command.name.as_bytes().eq_ignore_ascii_case(argv[0])
    })?;
    let undo = inverse_amount(command, argv)?.to_string();
    let open = context.open_to_read(words.first()?.borrow());
    let kind = open.as_ref().map_or(ValueKind::Nothing, |open| open.kind());
    let undone: &[&[u8]] = match (command.in_hash, kind) {
        (false, ValueKind::Nothing) => &[b"DEL", argv[1]],
        (false, ValueKind::String) => &[b"INCRBY", argv[1], undo.as_bytes()],
        // A hash is deleted with its last field.
        (true, ValueKind::Nothing) => &[b"HDEL", argv[1], argv[2]],
        (true, ValueKind::Hash) => {
            if open?.has_field(words.get(1)?.borrow()) {
                &[b"HINCRBY", argv[1], argv[2], undo.as_bytes()]
            } else {
                &[b"HDEL", argv[1], argv[2]]
            }
        }
        _ => return None,
    };
    Some(OwnedArgv::new(undone))
}

/// Returns the amount to add in order to undo the command; `None` if it cannot be represented.
fn inverse_amount(command: &CounterCommand, argv: &[&[u8]]) -> Option<i64> {
    let by = match command.amount {
        Some(by) => by,
        None => std::str::from_utf8(argv.last()?).ok()?.parse().ok()?,
    };
    if command.subtracts {
        Some(by)
    } else {
        by.checked_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNTER_COMMANDS, inverse_amount};

    fn undo(argv: &[&[u8]]) -> Option<i64> {
        let name = argv[0];
        let command = COUNTER_COMMANDS
            .iter()
            .find(|command| command.name.as_bytes() == name)?;
        inverse_amount(command, argv)
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
