//! Builds one reply from the host calls by which a guest writes it.

use alloc::string::String;
use alloc::vec::Vec;

use crate::value::Value;

/// The replies so far: open containers, and complete values.
#[derive(Default)]
pub(super) struct Replies {
    open: Vec<Open>,
    complete: Vec<Value>,
}

/// A container that waits for elements.
struct Open {
    is_map: bool,
    wanted: usize,
    items: Vec<Value>,
}

impl Open {
    fn is_full(&self) -> bool {
        self.items.len() == self.wanted
    }
}

impl Replies {
    /// Opens an array of `wanted` elements, or a map of `wanted / 2` pairs.
    pub(super) fn open(&mut self, is_map: bool, wanted: usize) {
        self.open.push(Open {
            is_map,
            wanted,
            items: Vec::new(),
        });
        self.close_full();
    }

    /// Adds a value to the innermost open container, or as a reply of its own.
    pub(super) fn push(&mut self, value: Value) {
        match self.open.last_mut() {
            Some(open) => {
                open.items.push(value);
                self.close_full();
            }
            None => self.complete.push(value),
        }
    }

    fn close_full(&mut self) {
        while self.open.last().is_some_and(Open::is_full) {
            let Some(open) = self.open.pop() else { return };
            let value = if open.is_map {
                let mut items = open.items.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            } else {
                Value::Array(open.items)
            };
            match self.open.last_mut() {
                Some(outer) => outer.items.push(value),
                None => self.complete.push(value),
            }
        }
    }

    /// Returns the reply, or the reason why it is not exactly one.
    pub(super) fn finish(mut self) -> Result<Value, String> {
        if !self.open.is_empty() {
            return Err("left an array or a map unfinished".into());
        }
        match (self.complete.pop(), self.complete.len()) {
            (Some(value), 0) => Ok(value),
            (_, more) => Err(alloc::format!(
                "gave {} replies instead of one",
                if more == 0 { 0 } else { more + 1 }
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Replies;
    use crate::value::Value;
    use alloc::vec;

    #[test]
    fn containers_close_when_they_are_full() {
        let mut replies = Replies::default();
        replies.open(false, 2);
        replies.open(true, 2);
        replies.push(Value::from("a"));
        replies.push(Value::Int(1));
        replies.open(false, 0);
        let map = Value::Map(vec![(Value::from("a"), Value::Int(1))]);
        assert_eq!(
            replies.finish(),
            Ok(Value::Array(vec![map, Value::Array(vec![])]))
        );
    }

    #[test]
    fn anything_but_one_reply_is_a_mistake() {
        assert!(Replies::default().finish().is_err());
        let mut two = Replies::default();
        two.push(Value::Null);
        two.push(Value::Null);
        assert!(two.finish().is_err());
        let mut unfinished = Replies::default();
        unfinished.open(false, 1);
        assert!(unfinished.finish().is_err());
    }
}
