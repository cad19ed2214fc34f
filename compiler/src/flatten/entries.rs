//! Entries: exported functions of a component, as functions that a host calls.

use wasm_encoder::{BlockType, ConstExpr, Function, GlobalSection, GlobalType, MemArg, ValType};

use super::FlattenError;
use super::component::Component;
use super::resolve::{Lifted, Resolved};
use super::typed::Typed;
use super::types::Type;

/// Most entries that the section of entries may list.
const ENTRIES_MAX: usize = 1_000;

/// Most functions that a message lists when none is an entry.
const SEEN_MAX: usize = 4;

/// The export that serves all entries of the section.
const RUN: &str = "run";

/// An entry.
pub(super) struct Entry<'a> {
    /// Its name among the module's exports.
    pub(super) name: String,
    /// The function that it calls.
    pub(super) lifted: Lifted<'a>,
    /// True if the function is told the entry's name.
    pub(super) takes_name: bool,
    /// Reading of words and writing of the reply, if the function has types of its own.
    pub(super) typed: Option<Typed>,
}

/// Returns the entries, at least one.
pub(super) fn find<'a>(
    component: &Component<'a>,
    resolved: &Resolved<'a>,
) -> Result<Vec<Entry<'a>>, FlattenError> {
    let mut entries = Vec::new();
    let mut seen = Vec::new();
    for (name, lifted) in &resolved.exports {
        match shape(lifted) {
            Ok(Shape::Input) => entries.push(Entry {
                name: (*name).to_owned(),
                lifted: lifted.clone(),
                takes_name: false,
                typed: None,
            }),
            Ok(Shape::NameAndInput) if *name == RUN => match component.entries {
                Some(section) => {
                    entries.extend(listed(section)?.into_iter().map(|name| Entry {
                        name: name.to_owned(),
                        lifted: lifted.clone(),
                        takes_name: true,
                        typed: None,
                    }));
                }
                None => seen.push(format!(
                    "`{name}` takes the name of an entry, and no custom section `{}` lists them",
                    super::component::ENTRIES_SECTION
                )),
            },
            Ok(Shape::NameAndInput) => seen.push(format!("`{name}` is not called `{RUN}`")),
            Ok(Shape::Typed(typed)) => entries.push(Entry {
                name: (*name).to_owned(),
                lifted: lifted.clone(),
                takes_name: false,
                typed: Some(typed),
            }),
            Err(reason) => seen.push(format!("`{name}` {reason}")),
        }
    }
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(FlattenError::SameEntry {
            name: twice[0].to_owned(),
        });
    }
    if entries.is_empty() {
        let more = seen.len().saturating_sub(SEEN_MAX);
        seen.truncate(SEEN_MAX);
        if more > 0 {
            seen.push(format!("{more} more"));
        }
        return Err(FlattenError::NoEntry {
            seen: if seen.is_empty() {
                String::new()
            } else {
                format!(" ({})", seen.join("; "))
            },
        });
    }
    Ok(entries)
}

/// The names in the section of entries.
fn listed(section: &[u8]) -> Result<Vec<&str>, FlattenError> {
    let refused = |what: &str| FlattenError::Unsupported {
        what: format!(
            "a custom section `{}` {what}",
            super::component::ENTRIES_SECTION
        ),
        remedy: "it lists the entries' names in UTF-8, one a line, each of at most 128 bytes",
    };
    let text = std::str::from_utf8(section).map_err(|_| refused("that is not UTF-8"))?;
    let names: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if names.len() > ENTRIES_MAX {
        return Err(FlattenError::LimitExceeded {
            what: "entries of the component",
            bound: "component_entries_max",
            found: names.len() as u64,
            max: ENTRIES_MAX as u64,
        });
    }
    if names.iter().any(|name| name.len() > 128) {
        return Err(refused("with a name that is too long"));
    }
    Ok(names)
}

/// The way a function is called.
enum Shape {
    /// `func(input) -> result<list<item>, string>`.
    Input,
    /// `func(entry: string, input) -> result<list<item>, string>`.
    NameAndInput,
    /// A function with types of its own.
    Typed(Typed),
}

/// Returns how a function is called, or why it cannot be.
fn shape(lifted: &Lifted<'_>) -> Result<Shape, String> {
    let ty = &lifted.ty;
    if ty.is_async {
        return Err("is asynchronous".to_owned());
    }
    let name = Type::Primitive(wasmparser::PrimitiveValType::String);
    if ty.result.as_ref() == Some(&Type::reply()) {
        match ty.params.as_slice() {
            [(_, input)] if *input == Type::input() => return Ok(Shape::Input),
            [(_, entry), (_, input)] if *entry == name && *input == Type::input() => {
                return Ok(Shape::NameAndInput);
            }
            _ => {}
        }
    }
    Typed::of(lifted).map(Shape::Typed)
}

/// The functions that an entry calls, by their indices in the module.
pub(super) struct Calls {
    pub(super) function: u32,
    pub(super) post_return: Option<u32>,
    pub(super) key_count: u32,
    pub(super) arg_count: u32,
    pub(super) keys: u32,
    pub(super) args: u32,
    pub(super) allocate: u32,
    pub(super) reply: u32,
}

/// Functions for entries of the section come in multiples of this number, so that components with a few more or
/// less entries have the same code.
const NAMED_STEP: usize = 16;

/// Fewest words of 8 bytes that a name has room for.
const NAME_WORDS_MIN: usize = 4;

/// The globals that hold the names of the entries of the section: of each its length, and its bytes in words.
///
/// They are no part of the code, so that components which differ in these names share theirs.
pub(super) struct NameGlobals {
    /// Index of the first.
    first: u32,
    /// Words that each name has room for.
    words: u32,
    /// Number of names, used or not.
    pub(super) count: u32,
}

impl NameGlobals {
    /// Lays out the globals for the entries that are told their names, from the index `first` on.
    pub(super) fn of(entries: &[Entry<'_>], first: u32) -> Self {
        let named = entries.iter().filter(|entry| entry.takes_name);
        let longest = named.clone().map(|entry| entry.name.len()).max();
        let words = longest.unwrap_or_default().div_ceil(8).max(NAME_WORDS_MIN);
        let count = named.count().next_multiple_of(NAMED_STEP);
        Self {
            first,
            words: words.next_power_of_two() as u32,
            count: count as u32,
        }
    }

    /// Adds the globals for a name; an empty one is for a function that is not used.
    pub(super) fn add(&self, name: &str, section: &mut GlobalSection) {
        let mut add = |val_type, value: &ConstExpr| {
            let ty = GlobalType {
                val_type,
                mutable: true,
                shared: false,
            };
            section.global(ty, value);
        };
        add(ValType::I32, &ConstExpr::i32_const(name.len() as i32));
        let mut words = name.as_bytes().chunks(8);
        for _ in 0..self.words {
            let mut word = [0; 8];
            let bytes = words.next().unwrap_or_default();
            word[..bytes.len()].copy_from_slice(bytes);
            add(
                ValType::I64,
                &ConstExpr::i64_const(i64::from_le_bytes(word)),
            );
        }
    }

    /// Returns the index of the global with the length of a name; its words follow.
    fn len_of(&self, number: u32) -> u32 {
        self.first + number * (1 + self.words)
    }
}

/// Writes the function that a host calls; `name` are the globals of its name and its number among those, if it
/// is told its name.
pub(super) fn body(name: Option<(&NameGlobals, u32)>, calls: &Calls) -> Function {
    use wasm_encoder::ValType::{I32, I64};
    // The result's address and that of the name; for its last bytes: their place, and what is left of the word.
    let mut function = Function::new(match name {
        Some(_) => vec![(3, I32), (1, I64)],
        None => vec![(1, I32)],
    });
    let (result, address, at, left) = (0, 1, 2, 3);
    let mut code = function.instructions();
    if let Some((globals, number)) = name {
        let len = globals.len_of(number);
        code.global_get(len).call(calls.allocate).local_set(address);
        code.block(BlockType::Empty);
        for word in 0..globals.words {
            let offset = word * 8;
            code.global_get(len)
                .i32_const((offset + 8) as i32)
                .i32_ge_u();
            code.if_(BlockType::Empty)
                .local_get(address)
                .global_get(len + 1 + word)
                .i64_store(at_offset(offset));
            code.else_()
                .global_get(len + 1 + word)
                .local_set(left)
                .i32_const(offset as i32)
                .local_set(at)
                .loop_(BlockType::Empty);
            // Out of the loop, the condition, and the block of all words.
            code.local_get(at).global_get(len).i32_ge_u().br_if(2);
            code.local_get(address)
                .local_get(at)
                .i32_add()
                .local_get(left)
                .i64_store8(at_offset(0));
            code.local_get(left)
                .i64_const(8)
                .i64_shr_u()
                .local_set(left);
            code.local_get(at)
                .i32_const(1)
                .i32_add()
                .local_set(at)
                .br(0);
            code.end().end();
        }
        code.end();
        code.local_get(address).global_get(len);
    }
    code.call(calls.keys)
        .call(calls.key_count)
        .call(calls.args)
        .call(calls.arg_count)
        .call(calls.function)
        .local_tee(result)
        .call(calls.reply);
    if let Some(post_return) = calls.post_return {
        code.local_get(result).call(post_return);
    }
    code.end();
    function
}

/// An access of bytes at an offset.
fn at_offset(offset: u32) -> MemArg {
    MemArg {
        offset: offset.into(),
        align: 0,
        memory_index: 0,
    }
}
