//! Runs a call's commands that write at once, and undoes them if the call does not commit.
//!
//! Writes of the typed operations are collected, because their results are known without doing
//! them. The result of any other command is not, so the command is run on the server, after the
//! keys that it names were saved, or once it is known which command undoes it. On the main thread
//! no client sees the state in between: the server serves no other client until the call is over,
//! and by then everything is committed or undone. Before a call leaves the main thread, everything
//! is undone. For each later access the commands are run again, their replies are compared, and
//! they are undone, all without releasing the server's lock.

use ferrite_protocol::argv::{OwnedArgv, Words};
use ferrite_protocol::budget::{self, Budget, COMMAND, lookups};
use ferrite_protocol::keyspace::StoreError;
use ferrite_protocol::resp::Encoder;

use crate::api::command_call::Format;
use crate::api::context::log;
use crate::api::key::ValueKind;
use crate::records::capture;
use crate::transaction::apply::apply;
use crate::transaction::command_table;
use crate::transaction::inverse_command::inverse;
use crate::transaction::journal::{Step, Undo};
use crate::transaction::read_set::{ReadKind, hash_of};
use crate::transaction::server_reads::{self, Lifetime, Request, Server};
use crate::transaction::typed_ops::CallView;

/// A larger value is not saved, because that would stop the server for too long.
pub(crate) const SAVED_BYTES_MAX: usize = 4 << 20;

/// A value with more elements is not saved either.
const SAVED_ELEMENTS_MAX: usize = 20_000;

impl CallView<'_> {
    /// Runs a command that writes, or that reads what was written, and appends its reply in RESP2.
    ///
    /// `keys` are the keys that the command names. Changes that the call has collected for them are
    /// applied first; without `keys`, all changes are.
    pub(crate) fn run_journaled(
        &mut self,
        argv: &[&[u8]],
        keys: Option<&[&[u8]]>,
        writes: bool,
        budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<(), StoreError> {
        let start = reply.len();
        self.with_journal(|this| {
            let undivided = this.state.undivided;
            this.flush(keys)?;
            let format = if this.on_main_thread {
                Format::CallerReplicated
            } else {
                Format::Caller
            };
            let see = |bytes: &[u8]| {
                reply.raw(bytes);
                if undivided { 0 } else { hash_of(bytes) }
            };
            let seen = if writes {
                this.run_undoable(argv, keys.unwrap_or_default(), format, see)?
            } else {
                server_reads::command_within(this.server(), argv, format, budget, see)
            };
            let seen = seen
                .ok_or_else(|| StoreError::Failed("the server would not run the command".into()))?;
            let reply = &reply.bytes()[start..];
            this.state.journal.add(undivided, || Step::Command {
                argv: repeatable(argv, reply),
                seen,
                work: COMMAND,
            });
            Ok(())
        })
    }

    /// Runs a command that may write to these keys, and notes how to undo it. Returns `None` if the
    /// server would not run it.
    fn run_undoable<R>(
        &mut self,
        argv: &[&[u8]],
        keys: &[&[u8]],
        format: Format,
        see: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let server = Server {
            call: self.call,
            context: self.context,
        };
        let Some(request) = Request::of_call(server, argv) else {
            return Ok(None);
        };
        let saved = keys.iter().all(|key| self.is_saved(key));
        let inverse = if saved {
            None
        } else {
            inverse(self.context, argv, &request.words)
        };
        let Some(inverse) = inverse else {
            for key in keys {
                self.save_key(key)?;
            }
            return Ok(request.run(format, see));
        };
        let seen = request.run(format, |bytes| (see(bytes), is_error(bytes)));
        Ok(seen.map(|(seen, failed)| {
            if !failed {
                self.state.journal.undo.push(Undo::Command(inverse));
            }
            seen
        }))
    }

    /// Does a typed read after commands that write.
    pub(crate) fn read_within_journal<R>(
        &mut self,
        kind: ReadKind,
        read_now: impl FnOnce(&Self, &ReadKind) -> (Result<R, StoreError>, u64),
    ) -> Result<R, StoreError> {
        self.with_journal(|this| {
            let (result, seen) = read_now(this, &kind);
            let undivided = this.state.undivided;
            let journal = &mut this.state.journal;
            journal.add(undivided, || Step::Read { kind, seen });
            result
        })
    }

    /// Runs `access` while the journal's steps are applied to the server's data.
    fn with_journal<R>(
        &mut self,
        access: impl FnOnce(&mut Self) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let context = self.context;
        if self.on_main_thread {
            self.state.journal.applied = true;
            let (result, mut seen) = capture::hold(context, || access(self));
            self.state.journal.events.append(&mut seen);
            return result;
        }
        capture::ignore(context, || {
            let result = if self.reads_hold() && self.replay(false) {
                access(self)
            } else {
                self.state.conflict = true;
                Err(StoreError::Conflict)
            };
            self.undo_all(false);
            result
        })
    }

    /// Does every step again. Returns true if each had the same result.
    pub(crate) fn replay(&mut self, replicate: bool) -> bool {
        self.state.add_work(self.state.journal.work());
        let steps = std::mem::take(&mut self.state.journal.steps);
        self.state.journal.applied = true;
        let same = steps.iter().all(|step| self.step(step, replicate));
        self.state.journal.steps = steps;
        same
    }

    fn step(&mut self, step: &Step, replicate: bool) -> bool {
        match step {
            Step::Command { argv, seen, .. } => {
                let argv = argv.words();
                let format = if replicate {
                    Format::CallerReplicated
                } else {
                    Format::Caller
                };
                let Some(keys) = command_table::keys_of(self.context, &argv) else {
                    return false;
                };
                let keys: Words<'_> = keys.iter().map(|&at| argv[at]).collect();
                self.run_undoable(&argv, &keys, format, |bytes| hash_of(bytes)) == Ok(Some(*seen))
            }
            Step::Flush { key, change } => {
                if self.save_key(self.call.name(key)).is_err() {
                    return false;
                }
                apply(self.context, self.call, key, change, replicate);
                true
            }
            Step::Read { kind, seen } => kind.revalidate(self.server()) == *seen,
        }
    }

    /// Applies the collected changes, of some keys or of all.
    fn flush(&mut self, keys: Option<&[&[u8]]>) -> Result<(), StoreError> {
        if self.state.write_set.is_empty() {
            return Ok(());
        }
        let call = self.call;
        let all = self.state.write_set.take();
        let mut result = Ok(());
        for (key, change) in all {
            let meant = keys.is_none_or(|keys| keys.contains(&call.name(&key)));
            if meant && result.is_ok() {
                result = self.save_key(call.name(&key));
            }
            if !meant || result.is_err() {
                self.state.write_set.put(&key, change);
                continue;
            }
            apply(self.context, call, &key, &change, self.on_main_thread);
            let undivided = self.state.undivided;
            let journal = &mut self.state.journal;
            journal.add(undivided, || Step::Flush { key, change });
        }
        result
    }

    /// Returns true if a key was saved, so that restoring it undoes all later changes.
    fn is_saved(&self, name: &[u8]) -> bool {
        let mut undo = self.state.journal.undo.iter();
        undo.any(|one| matches!(one, Undo::Restore { key, .. } if **key == *name))
    }

    /// Saves a key's value and expiry, if it was not saved before.
    fn save_key(&mut self, name: &[u8]) -> Result<(), StoreError> {
        if self.is_saved(name) {
            return Ok(());
        }
        let key = self.call.key(name);
        let string = self.call.string(self.context, &key);
        let (elements, lifetime) = match self.context.open_to_read(string.borrow()) {
            None => (None, Lifetime::NoKey),
            Some(open) => (
                Some((open.kind(), open.len())),
                open.expires_at().map_or(Lifetime::Never, Lifetime::At),
            ),
        };
        let value = match elements {
            None => None,
            Some((kind, len)) => {
                let max = match kind {
                    ValueKind::String => SAVED_BYTES_MAX,
                    _ => SAVED_ELEMENTS_MAX,
                };
                if len > max {
                    return Err(too_large(name, len, max));
                }
                let dump =
                    server_reads::command(self.context, &[b"DUMP", name], Format::Own, |bytes| {
                        bulk(bytes).map(<[u8]>::to_vec)
                    });
                let Some(Some(dump)) = dump else {
                    return Err(StoreError::Failed(
                        "the server cannot put a value of this type aside".into(),
                    ));
                };
                if dump.len() > SAVED_BYTES_MAX {
                    return Err(too_large(name, dump.len(), SAVED_BYTES_MAX));
                }
                // It is written out now, and maybe read back.
                let elements = match kind {
                    ValueKind::String => 0,
                    _ => lookups(len),
                };
                self.state
                    .add_work(2 * budget::bytes(dump.len() as u64) + elements);
                let at = match lifetime {
                    Lifetime::At(at) => Some(at),
                    Lifetime::Never | Lifetime::NoKey => None,
                };
                Some((dump, at))
            }
        };
        self.state.journal.undo.push(Undo::Restore {
            key: name.into(),
            value,
        });
        Ok(())
    }

    /// Undoes all that was applied, the last first. Replicas do the same if `replicate` is true.
    pub(crate) fn undo_all(&mut self, replicate: bool) {
        let context = self.context;
        capture::ignore(context, || self.undo_each(replicate));
    }

    fn undo_each(&mut self, replicate: bool) {
        self.state.journal.applied = false;
        self.state.journal.events.clear();
        let format = if replicate {
            Format::OwnReplicated
        } else {
            Format::Own
        };
        let run = |argv: &[&[u8]]| server_reads::command(self.context, argv, format, is_error);
        for undo in self.state.journal.undo.drain(..).rev() {
            let (failed, key) = match &undo {
                Undo::Command(argv) => {
                    let argv = argv.words();
                    (run(&argv), argv[1])
                }
                Undo::Restore { key, value: None } => (run(&[b"DEL", key]), &**key),
                Undo::Restore {
                    key,
                    value: Some((dump, at)),
                } => {
                    let at = at.unwrap_or(0).to_string();
                    let argv = [
                        b"RESTORE",
                        &**key,
                        at.as_bytes(),
                        dump,
                        b"REPLACE",
                        b"ABSTTL",
                    ];
                    (run(&argv), &**key)
                }
            };
            if failed != Some(false) {
                log(
                    c"warning",
                    &format!(
                        "ferrite: the key {} could not be put back as it was before a function that failed",
                        key.escape_ascii()
                    ),
                );
            }
        }
    }

    /// Returns true if the steps are applied to the server's data now.
    pub(crate) fn is_applied(&self) -> bool {
        self.state.journal.applied
    }
}

/// Returns a command that has the same effect each time it is run: an id that the server chose the
/// first time takes the place of `*`.
fn repeatable(argv: &[&[u8]], reply: &[u8]) -> OwnedArgv {
    if argv[0].eq_ignore_ascii_case(b"XADD")
        && let Some(id) = bulk(reply)
        && let Some(star) = argv.iter().skip(2).position(|word| *word == b"*")
    {
        let mut words: Words<'_> = argv.into();
        words[2 + star] = id;
        return OwnedArgv::new(&words);
    }
    OwnedArgv::new(argv)
}

fn is_error(reply: &[u8]) -> bool {
    reply.starts_with(b"-")
}

/// Returns the bytes of a bulk string; `None` for any other reply.
fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let rest = reply.strip_prefix(b"$")?;
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    let len: usize = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    rest.get(end + 2..)?.get(..len)
}

#[cold]
fn too_large(name: &[u8], len: usize, max: usize) -> StoreError {
    StoreError::Failed(
        format!(
            "the value at {} has {len} bytes or elements, and only {max} can be put aside for a command that may have to be undone; use smaller values, or the typed operations",
            name.escape_ascii()
        )
        .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::{bulk, repeatable};

    #[test]
    fn an_id_that_the_server_chose_is_kept() {
        let argv: [&[u8]; 5] = [b"xadd", b"s", b"*", b"field", b"*"];
        let again = repeatable(&argv, b"$3\r\n7-0\r\n");
        let expected: [&[u8]; 5] = [b"xadd", b"s", b"7-0", b"field", b"*"];
        assert_eq!(&*again.words(), expected);
    }

    #[test]
    fn a_bulk_string_is_found_in_a_reply() {
        assert_eq!(bulk(b"$3\r\na\r\n\r\n"), Some(&b"a\r\n"[..]));
        assert_eq!(bulk(b"$-1\r\n"), None);
        assert_eq!(bulk(b"$9\r\nshort\r\n"), None);
        assert_eq!(bulk(b":1\r\n"), None);
    }
}
