//! Applies a change of a key to the server's data, and replicates it.

use std::ffi::CStr;

use smallvec::SmallVec;

use crate::api::context::Context;
use crate::api::ffi::{NOTIFY_GENERIC, NOTIFY_HASH, NOTIFY_STRING};
use crate::api::key::{OpenKey, ValueKind};
use crate::api::string::{Borrowed, Owned};
use crate::transaction::call::Call;
use crate::transaction::server_reads::ArgStrings;
use crate::transaction::write_set::{Change, Expiry, Fields, KeyRef, Value};

/// Applies one change. Replicas and the append-only file get it too if `replicate` is true.
pub(crate) fn apply(
    context: Context<'_>,
    call: &Call,
    key: &KeyRef,
    change: &Change,
    replicate: bool,
) {
    let name = call.string(context, key);
    let target = Target {
        context,
        name: name.borrow(),
        replicate,
    };
    match &change.value {
        Value::Gone => target.remove(),
        Value::Same => target.expire(change.expiry),
        Value::String(value) => target.string(value, change.expiry),
        Value::Hash(fields) => target.hash(fields, change.expiry),
    }
}

/// The key to change.
struct Target<'a> {
    context: Context<'a>,
    name: Borrowed<'a>,
    /// True if replicas get the change too.
    replicate: bool,
}

impl Target<'_> {
    fn open(&self) -> Option<OpenKey<'_>> {
        self.context.open_to_write(self.name)
    }

    fn replicate(&self, command: &CStr, words: &[Borrowed<'_>]) {
        if self.replicate {
            self.context.replicate(command, words);
        }
    }

    fn remove(&self) {
        let existed = self
            .open()
            .is_some_and(|mut key| key.kind() != ValueKind::Nothing && key.unlink());
        if existed {
            self.replicate(c"DEL", &[self.name]);
            self.context.notify(NOTIFY_GENERIC, c"del", self.name);
        }
    }

    fn expire(&self, expiry: Expiry) {
        let Some(mut key) = self.open().filter(|key| key.kind() != ValueKind::Nothing) else {
            return;
        };
        match expiry {
            Expiry::Keep => {}
            Expiry::Never => {
                key.set_expires_at(None);
                drop(key);
                self.replicate(c"PERSIST", &[self.name]);
                self.context.notify(NOTIFY_GENERIC, c"persist", self.name);
            }
            Expiry::At(at) => {
                key.set_expires_at(Some(at));
                drop(key);
                let at = self.number(at);
                self.replicate(c"PEXPIREAT", &[self.name, at.borrow()]);
                self.context.notify(NOTIFY_GENERIC, c"expire", self.name);
            }
        }
    }

    fn string(&self, value: &[u8], expiry: Expiry) {
        let Some(mut key) = self.open() else { return };
        let before = key.expires_at();
        // A string of the same length is overwritten in place, which takes half the time.
        let in_place =
            key.kind() == ValueKind::String && key.len() == value.len() && key.overwrite(value);
        if !in_place {
            key.set_string(self.context.string(value).borrow());
        }
        // Overwriting in place keeps the expiry; setting a string removes it.
        let now = if in_place { before } else { None };
        let wanted = match expiry {
            Expiry::Keep => before,
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        };
        if now != wanted {
            key.set_expires_at(wanted);
        }
        drop(key);
        if self.replicate {
            self.context.replicate_set(self.name, value, wanted);
        }
        self.context.notify(NOTIFY_STRING, c"set", self.name);
    }

    fn hash(&self, fields: &Fields, expiry: Expiry) {
        if fields.fresh {
            self.remove();
        }
        let Some(mut key) = self.open() else { return };
        let (mut put, mut gone) = (ArgStrings::new(), ArgStrings::new());
        for (field, value) in &fields.changed {
            let field = self.context.string(field);
            match value {
                Some(value) => {
                    let value = self.context.string(value);
                    key.set_field(field.borrow(), Some(value.borrow()));
                    put.extend([field, value]);
                }
                None if fields.fresh => {}
                None => {
                    key.set_field(field.borrow(), None);
                    gone.push(field);
                }
            }
        }
        drop(key);
        for (command, event, words) in [(c"HSET", c"hset", &put), (c"HDEL", c"hdel", &gone)] {
            if words.is_empty() {
                continue;
            }
            let words: SmallVec<[Borrowed<'_>; 8]> = std::iter::once(self.name)
                .chain(words.iter().map(Owned::borrow))
                .collect();
            self.replicate(command, &words);
            self.context.notify(NOTIFY_HASH, event, self.name);
        }
        self.expire_after_hash(fields, expiry);
    }

    fn expire_after_hash(&self, fields: &Fields, expiry: Expiry) {
        match expiry {
            Expiry::At(_) => self.expire(expiry),
            // A new key has no expiry.
            Expiry::Never if !fields.fresh => self.expire(expiry),
            Expiry::Never | Expiry::Keep => {}
        }
    }

    fn number(&self, number: i64) -> Owned<'_> {
        self.context.string(number.to_string().as_bytes())
    }
}
