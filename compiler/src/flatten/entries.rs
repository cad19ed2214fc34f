//! Entries: exported functions of a component, as functions that a host calls.

use wasm_encoder::{Function, InstructionSink, MemArg};

use super::FlattenError;
use super::component::Component;
use super::resolve::{Lifted, Resolved};
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
            }),
            Ok(Shape::NameAndInput) if *name == RUN => match component.entries {
                Some(section) => {
                    entries.extend(listed(section)?.into_iter().map(|name| Entry {
                        name: name.to_owned(),
                        lifted: lifted.clone(),
                        takes_name: true,
                    }));
                }
                None => seen.push(format!(
                    "`{name}` takes the name of an entry, and no custom section `{}` lists them",
                    super::component::ENTRIES_SECTION
                )),
            },
            Ok(Shape::NameAndInput) => seen.push(format!("`{name}` is not called `{RUN}`")),
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
}

/// Returns how a function is called, or why it cannot be.
fn shape(lifted: &Lifted<'_>) -> Result<Shape, &'static str> {
    let ty = &lifted.ty;
    if ty.is_async {
        return Err("is asynchronous");
    }
    if ty.result.as_ref() != Some(&Type::reply()) {
        return Err("has another result");
    }
    let name = Type::Primitive(wasmparser::PrimitiveValType::String);
    match ty.params.as_slice() {
        [(_, input)] if *input == Type::input() => Ok(Shape::Input),
        [(_, entry), (_, input)] if *entry == name && *input == Type::input() => {
            Ok(Shape::NameAndInput)
        }
        _ => Err("has other parameters"),
    }
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

/// Writes the function that a host calls.
pub(super) fn body(entry: &Entry<'_>, calls: &Calls) -> Function {
    // The result's address, and that of the name.
    let mut function = Function::new([(2, wasm_encoder::ValType::I32)]);
    let (result, name) = (0, 1);
    let mut code = function.instructions();
    if entry.takes_name {
        let bytes = entry.name.as_bytes();
        code.i32_const(bytes.len() as i32)
            .call(calls.allocate)
            .local_set(name);
        store(&mut code, name, bytes);
        code.local_get(name).i32_const(bytes.len() as i32);
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

/// Writes bytes to where a local points.
fn store(code: &mut InstructionSink<'_>, local: u32, bytes: &[u8]) {
    let at = |offset| MemArg {
        offset,
        align: 0,
        memory_index: 0,
    };
    for (index, eight) in bytes.chunks(8).enumerate() {
        let offset = index as u64 * 8;
        if let Ok(eight) = <[u8; 8]>::try_from(eight) {
            code.local_get(local)
                .i64_const(i64::from_le_bytes(eight))
                .i64_store(at(offset));
            continue;
        }
        for (offset, byte) in (offset..).zip(eight) {
            code.local_get(local)
                .i32_const(i32::from(*byte))
                .i32_store8(at(offset));
        }
    }
}
