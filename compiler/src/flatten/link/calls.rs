//! The functions that entries call.

use super::numbers::Numbers;
use super::{Definition, Linker};
use crate::flatten::FlattenError;
use crate::flatten::adapter;
use crate::flatten::entries::{Calls, Entry};
use crate::flatten::module::Kind;
use crate::flatten::resolve::{CoreItem, broken};
use crate::flatten::typed::{self, TypedCalls};

/// Returns the names of the adapter's functions that an entry calls.
pub(super) fn needed(entry: &Entry<'_>) -> &'static [&'static str] {
    const INPUT: &[&str] = &[
        adapter::KEY_COUNT,
        adapter::ARG_COUNT,
        adapter::KEYS,
        adapter::ARGS,
        adapter::REPLY,
        adapter::ALLOCATE,
    ];
    match (&entry.typed, entry.takes_name) {
        (Some(_), _) => typed::ADAPTER,
        (None, true) => INPUT,
        (None, false) => &INPUT[..INPUT.len() - 1],
    }
}

impl<'a> Linker<'_, 'a> {
    /// Returns what an entry with types of its own calls.
    pub(super) fn typed_calls(
        &mut self,
        entry: &Entry<'a>,
        numbers: &Numbers,
    ) -> Result<TypedCalls, FlattenError> {
        let lifted = &entry.lifted;
        let realloc = lifted.realloc.as_ref();
        let realloc = realloc.map(|item| self.defined(item)).transpose()?;
        let copy = self.copy(realloc);
        let function = |item: &CoreItem<'a>| {
            let Definition { instance, index } = self.defined(item)?;
            Ok::<_, FlattenError>(numbers.first(Kind::Function, instance) + index)
        };
        let adapter = |name: &&str| {
            let index = self.adapter.function(name).ok_or_else(broken)?;
            numbers.in_copy(copy, index)
        };
        Ok(TypedCalls {
            function: function(&lifted.function)?,
            post_return: lifted.post_return.as_ref().map(function).transpose()?,
            adapter: typed::ADAPTER
                .iter()
                .map(adapter)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Returns what an entry calls.
    pub(super) fn calls(
        &mut self,
        entry: &Entry<'a>,
        numbers: &Numbers,
    ) -> Result<Calls, FlattenError> {
        let function = |linker: &Self, item: &CoreItem<'a>| {
            let Definition { instance, index } = linker.defined(item)?;
            Ok::<_, FlattenError>(numbers.first(Kind::Function, instance) + index)
        };
        let realloc = entry.lifted.realloc.as_ref();
        let realloc = realloc.map(|item| self.defined(item)).transpose()?;
        let copy = self.copy(realloc);
        let adapter = |name: &str| {
            let index = self.adapter.function(name).ok_or_else(broken)?;
            numbers.in_copy(copy, index)
        };
        let post_return = entry.lifted.post_return.as_ref();
        Ok(Calls {
            function: function(self, &entry.lifted.function)?,
            post_return: post_return.map(|item| function(self, item)).transpose()?,
            key_count: adapter(adapter::KEY_COUNT)?,
            arg_count: adapter(adapter::ARG_COUNT)?,
            keys: adapter(adapter::KEYS)?,
            args: adapter(adapter::ARGS)?,
            allocate: if entry.takes_name {
                adapter(adapter::ALLOCATE)?
            } else {
                0
            },
            reply: adapter(adapter::REPLY)?,
        })
    }
}
