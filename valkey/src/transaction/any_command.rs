//! Runs any data command of the server for a call.

use ferrite_protocol::argv::{OwnedArgv, Words};
use ferrite_protocol::budget::{self, Budget, COMMAND, Exceeded};
use ferrite_protocol::keyspace::StoreError;
use ferrite_protocol::resp::Encoder;
use smallvec::SmallVec;

use crate::api::command_call::Format;
use crate::api::key::ValueKind;
use crate::transaction::command_table::{self, DataCommand};
use crate::transaction::cost::foreseen::{Between, Cost, Size, between};
use crate::transaction::cost::shape::Shape;
use crate::transaction::cost::told_reply::{self, Ask};
use crate::transaction::journal::Step;
use crate::transaction::read_set::{ReadKind, hash_of};
use crate::transaction::server_reads;
use crate::transaction::typed_ops::CallView;
use ferrite_protocol::resp::tree::{Token, Tokens};

/// The sizes of a command's keys.
type Sizes = SmallVec<[Size; 4]>;

/// Elements of a sorted set from which on those of a range are counted first.
const COUNTED_MIN: usize = 500;

impl CallView<'_> {
    /// Runs a command, which was described and allowed, and writes exactly one reply.
    pub(crate) fn call(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<(), Exceeded> {
        let command = match command_table::look_up(Some(self.context), argv) {
            Ok(command) => command,
            Err(error) => {
                reply.error_display(&format_args!("ERR {error}"));
                return Ok(());
            }
        };
        let keys: Option<Words<'_>> = command.keys.as_ref().map(|keys| {
            keys.iter()
                .filter_map(|&at| argv.get(at).copied())
                .collect()
        });
        let named = keys.as_deref().unwrap_or_default();
        let sizes = self.sizes(&command, argv, named);
        let cost = Cost::foresee(command.shape, argv, named.len(), &sizes);
        cost.charge(budget)?;
        let mut ask = AskServer {
            view: self,
            budget,
            cost,
        };
        let told = told_reply::tell(argv, named, &sizes, &mut ask);
        Cost::at_least(told.reply_bytes, told.written_bytes).charge(budget)?;
        let start = reply.len();
        let ran = self.run(&command, argv, keys.as_deref(), budget, reply);
        self.note_work(argv, COMMAND.saturating_add(budget.work()));
        if let Some(exceeded) = budget.exceeded() {
            return Err(exceeded);
        }
        let len = reply.len() - start;
        let charged = budget.charge(budget::bytes(len as u64));
        let too_long = len > budget.bounds().reply_bytes_max;
        charged?;
        if too_long {
            return Err(budget.exceed(Exceeded::Reply));
        }
        if let Err(error) = ran {
            reply.truncate(start);
            reply.error_display(&format_args!("ERR {error}"));
            return Ok(());
        }
        if let Some(shown) = without_hidden_keys(argv, &reply.bytes()[start..], visible) {
            reply.truncate(start);
            reply.raw(&shown);
        }
        Ok(())
    }

    /// Returns the sizes of a command's keys, if they matter.
    fn sizes(&self, command: &DataCommand, argv: &[&[u8]], keys: &[&[u8]]) -> Sizes {
        if !command.shape.needs_sizes() {
            return Sizes::new();
        }
        let size = |name: &[u8]| {
            let key = self.call.key(name);
            let name = self.call.string(self.context, &key);
            match self.context.open_unnoticed(name.borrow()) {
                None => Size::Nothing,
                Some(key) => match key.kind() {
                    ValueKind::Nothing => Size::Nothing,
                    ValueKind::String => Size::Bytes(key.len()),
                    ValueKind::Hash | ValueKind::Other => Size::Elements(key.len()),
                },
            }
        };
        let mut sizes: Sizes = keys.iter().map(|name| size(name)).collect();
        if command.shape == Shape::Between {
            let elements = |size: &Size| matches!(size, Size::Elements(len) if *len > COUNTED_MIN);
            if sizes.iter().any(elements)
                && let Some(Between::Counted { argv, .. }) = between(argv)
                && let Some(count) = self.count_between(&argv)
            {
                sizes = SmallVec::from_slice(&[Size::Elements(count)]);
            }
        }
        sizes
    }

    /// Notes what doing this command again takes, if it is the last read or step.
    fn note_work(&mut self, argv: &[&[u8]], units: u64) {
        let is_this = |words: &OwnedArgv| words.words()[..] == *argv;
        if let Some(Step::Command { argv, work, .. }) = self.state.journal.steps.last_mut() {
            if is_this(argv) {
                *work = units;
            }
        } else if let Some(read) = self.state.reads.last_mut()
            && let ReadKind::Command(argv) = &read.kind
            && is_this(argv)
        {
            read.work = units;
        }
    }

    /// Asks the server how many elements of a sorted set are in a range, which it knows without visiting
    /// them.
    fn count_between(&self, argv: &[&[u8]]) -> Option<usize> {
        let count =
            server_reads::command(
                self.context,
                argv,
                Format::Own,
                |reply| match Tokens::new(reply).next() {
                    Some(Token::Int(count)) => usize::try_from(count).ok(),
                    _ => None,
                },
            );
        count.flatten()
    }

    fn run(
        &mut self,
        command: &DataCommand,
        argv: &[&[u8]],
        keys: Option<&[&[u8]]>,
        budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<(), StoreError> {
        if command.write {
            budget.note_change();
            if let Some(why) = command_table::why_not_undoable(argv) {
                let name = argv[0].to_ascii_uppercase();
                let name = String::from_utf8_lossy(&name);
                return Err(StoreError::Failed(format!("{name} {why}").into()));
            }
            // What a command without keys writes could not be undone.
            if keys.is_none_or(<[_]>::is_empty) {
                return Err(StoreError::Failed(
                    "the command writes and does not tell which keys, so it could not be undone if the function failed; send it as a command of its own".into(),
                ));
            }
        }
        // A command without keys may read all keys.
        let named = keys.filter(|keys| !keys.is_empty());
        let dirty = match named {
            Some(keys) => keys
                .iter()
                .any(|name| self.state.write_set.get(&self.call.key(name)).is_some()),
            None => !self.state.write_set.is_empty(),
        };
        if command.write || dirty || self.state.journal.is_active() {
            return self.run_journaled(argv, named, command.write, budget, reply);
        }
        let failed = || StoreError::Failed("the server would not run the command".into());
        let format = Format::Caller;
        if self.state.reads_latest || self.state.undivided {
            // Nothing is remembered of the read, so the words are not kept and the reply is not hashed.
            let see = |bytes: &[u8]| reply.raw(bytes);
            return server_reads::command_within(self.server(), argv, format, budget, see)
                .ok_or_else(failed);
        }
        self.read(ReadKind::Command(OwnedArgv::new(argv)), |this, _| {
            let see = |bytes: &[u8]| {
                reply.raw(bytes);
                hash_of(bytes)
            };
            let seen = server_reads::command_within(this.server(), argv, format, budget, see);
            match seen {
                Some(seen) => (Ok(()), seen),
                None => (Err(failed()), 0),
            }
        })
    }
}

/// Asks the server, for the module itself, what a reply will be made of.
struct AskServer<'a, 'v, 'b> {
    view: &'a CallView<'v>,
    budget: &'a Budget<'b>,
    /// Price of the command itself.
    cost: Cost,
}

impl AskServer<'_, '_, '_> {
    fn number(&self, argv: &[&[u8]]) -> u64 {
        let read = |reply: &[u8]| match Tokens::new(reply).next() {
            Some(Token::Int(number)) => u64::try_from(number).unwrap_or(0),
            _ => 0,
        };
        server_reads::command(self.view.context, argv, Format::Own, read).unwrap_or(0)
    }
}

impl Ask for AskServer<'_, '_, '_> {
    fn memory(&mut self, key: &[u8]) -> u64 {
        self.number(&[b"MEMORY", b"USAGE", key, b"SAMPLES", b"0"])
    }

    fn string(&mut self, key: &[u8]) -> u64 {
        let name = self.view.context.string(key);
        match self.view.context.open_unnoticed(name.borrow()) {
            Some(open) if open.kind() == ValueKind::String => open.len() as u64,
            _ => 0,
        }
    }

    fn field(&mut self, key: &[u8], field: &[u8]) -> u64 {
        self.number(&[b"HSTRLEN", key, field])
    }

    fn elements(&mut self, argv: &[&[u8]]) -> Vec<Vec<u8>> {
        // Finding them takes as long as the command.
        if self.cost.charge(self.budget).is_err() {
            return Vec::new();
        }
        let read = |reply: &[u8]| {
            let elements = Tokens::new(reply).filter_map(|token| match token {
                Token::Bulk(element) => Some(element.to_vec()),
                _ => None,
            });
            elements.collect()
        };
        server_reads::command(self.view.context, argv, Format::Own, read).unwrap_or_default()
    }

    fn may_go_on(&mut self, work: u64, reply_bytes: u64) -> bool {
        self.budget.charge(work).is_ok()
            && reply_bytes <= self.budget.bounds().reply_bytes_max as u64
    }
}

/// Returns the reply without the keys that the function may not see; `None` if the reply is fine as it
/// is, which holds for all commands that name their keys.
fn without_hidden_keys(
    argv: &[&[u8]],
    reply: &[u8],
    visible: &dyn Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let is = |name: &str| argv[0].eq_ignore_ascii_case(name.as_bytes());
    let mut encoder = Encoder::default();
    let mut tokens = Tokens::new(reply);
    if is("SCAN") {
        let (Some(Token::Array(2)), Some(Token::Bulk(cursor))) = (tokens.next(), tokens.next())
        else {
            return None;
        };
        encoder.array(2);
        encoder.bulk(cursor);
    } else if !is("KEYS") {
        return None;
    }
    let Some(Token::Array(_)) = tokens.next() else {
        return None;
    };
    let keys: Vec<&[u8]> = tokens
        .filter_map(|token| match token {
            Token::Bulk(key) if visible(key) => Some(key),
            _ => None,
        })
        .collect();
    encoder.array(keys.len());
    for key in keys {
        encoder.bulk(key);
    }
    Some(encoder.take())
}

#[cfg(test)]
mod tests {
    use super::without_hidden_keys;

    #[test]
    fn hidden_keys_are_left_out() {
        let visible = |key: &[u8]| key.starts_with(b"a");
        let keys = b"*2\r\n$2\r\na1\r\n$2\r\nb1\r\n";
        assert_eq!(
            without_hidden_keys(&[b"keys", b"*"], keys, &visible),
            Some(b"*1\r\n$2\r\na1\r\n".to_vec())
        );
        let scan = [b"*2\r\n$1\r\n7\r\n" as &[u8], keys].concat();
        assert_eq!(
            without_hidden_keys(&[b"SCAN", b"0"], &scan, &visible),
            Some(b"*2\r\n$1\r\n7\r\n*1\r\n$2\r\na1\r\n".to_vec())
        );
        assert_eq!(without_hidden_keys(&[b"MGET", b"b1"], keys, &visible), None);
        assert_eq!(
            without_hidden_keys(&[b"KEYS"], b"-NOPERM no\r\n", &visible),
            None
        );
    }
}
