//! Writes the rewritten module.

use std::borrow::Cow;

use ferrite_cache::{OffsetShift, Rewind, RewindPlan};
use wasm_encoder::{ConstExpr, Encode, ExportKind, MemoryType, SectionId, ValType};
use wasmparser::{Error, Operator};

use super::Rewritten;
use super::grow::{GrowthGlobals, body};
use super::plan::{Growth, Plan, RESERVED_PREFIX};
use crate::sections::{Additions, Replacement, Section, content_start, copy};

/// Applies `plan` to `wasm`.
pub(super) fn apply<'a>(wasm: &'a [u8], plan: &Plan) -> Result<Rewritten<'a>, Error> {
    let growth = plan.growth.map(|growth| {
        let first = plan.globals;
        let globals = GrowthGlobals {
            pages: first,
            limit: first + 1,
            refused: first + 2,
        };
        (growth, globals)
    });
    let rewind = |offsets| {
        Rewind::Allowed(RewindPlan {
            globals: plan.mutable_globals.len() as u32,
            headroom_pages: growth
                .map_or(0, |(growth, _)| growth.pages_with_headroom - growth.pages),
            grows: growth.is_some(),
            start: plan.start.is_some(),
            offsets,
        })
    };
    if plan.mutable_globals.is_empty() && plan.start.is_none() && !plan.memory {
        return Ok(Rewritten {
            wasm: Cow::Borrowed(wasm),
            rewind: rewind(Vec::new()),
        });
    }

    let mut additions = Additions::default();
    let mut memory = Vec::new();
    for (ordinal, &index) in plan.mutable_globals.iter().enumerate() {
        let name = format!("{RESERVED_PREFIX}global_{ordinal}");
        additions.export(&name, ExportKind::Global, index);
    }
    if plan.memory {
        // In addition to the module's own export of it, if any.
        additions.export(&format!("{RESERVED_PREFIX}memory"), ExportKind::Memory, 0);
    }
    if let Some(start) = plan.start {
        let name = format!("{RESERVED_PREFIX}start");
        additions.export(&name, ExportKind::Func, start);
    }
    if plan.data {
        empty_segment(&mut additions);
    }
    if let Some((growth, globals)) = growth {
        grow(&mut additions, plan, growth, globals);
        memory_with_headroom(growth).encode(&mut memory);
    }

    let growth = growth.map(|(_, globals)| globals);
    let mut offsets = Vec::new();
    let bytes = copy(wasm, &additions, |section, at| {
        if section.is(SectionId::Start) {
            // The function is exported instead.
            return Ok(Replacement::Omit);
        }
        if section.is(SectionId::Code) {
            return code(section, &additions, growth, plan, at, &mut offsets)
                .map(Replacement::Content);
        }
        if section.is(SectionId::Memory) && !memory.is_empty() {
            let mut content = Vec::new();
            1_u32.encode(&mut content);
            content.extend_from_slice(&memory);
            return Ok(Replacement::Content(content));
        }
        Ok(Replacement::Copy)
    })?;
    Ok(Rewritten {
        wasm: Cow::Owned(bytes),
        rewind: rewind(offsets),
    })
}

/// Adds an empty data segment at offset `0 + 0`; see `rewrite`.
fn empty_segment(additions: &mut Additions) {
    const ACTIVE: u32 = 0;
    additions.add(SectionId::Data, |out| {
        ACTIVE.encode(out);
        let zero = ConstExpr::i32_const(0);
        zero.with_i32_const(0).with_i32_add().encode(out);
        [0_u8; 0].as_slice().encode(out);
    });
}

/// Adds the function and the globals of virtual growth.
fn grow(additions: &mut Additions, plan: &Plan, growth: Growth, globals: GrowthGlobals) {
    let GrowthGlobals {
        pages,
        limit,
        refused,
    } = globals;
    additions.add(SectionId::Type, |out| {
        // (func (param i32) (result i32))
        out.push(0x60);
        [ValType::I32].encode(out);
        [ValType::I32].encode(out);
    });
    additions.add(SectionId::Function, |out| plan.types.encode(out));
    for (name, index, value) in [
        ("pages", pages, growth.pages),
        ("pages_max", limit, growth.pages_max),
        ("pages_refused", refused, 0),
    ] {
        additions.mutable_i32(value as i32);
        let name = format!("{RESERVED_PREFIX}{name}");
        additions.export(&name, ExportKind::Global, index);
    }
    additions.add(SectionId::Code, |out| out.extend(body(globals)));
}

fn memory_with_headroom(growth: Growth) -> MemoryType {
    MemoryType {
        minimum: growth.pages_with_headroom,
        maximum: (growth.pages_max < 65_536).then_some(growth.pages_max),
        memory64: false,
        shared: false,
        page_size_log2: None,
    }
}

/// Rewrites the code section: `memory.grow` becomes a call, `memory.size` a global. The section's
/// header will be at `at`; `offsets` receives what moved.
fn code(
    section: &Section<'_>,
    additions: &Additions,
    growth: Option<GrowthGlobals>,
    plan: &Plan,
    at: usize,
    offsets: &mut Vec<OffsetShift>,
) -> Result<Vec<u8>, Error> {
    let (added, entries) = additions.of(section.id);
    let mut reader = wasmparser::BinaryReader::new(section.content, section.at);
    let count = reader.read_var_u32()?;
    let mut content = Vec::new();
    (count + added).encode(&mut content);
    // Pairs (offset in the source, offset in the content).
    let mut shifts = Vec::new();
    for _ in 0..count {
        let before = reader.original_position();
        let size = reader.read_var_u32()? as usize;
        let start = reader.original_position();
        let bytes = &section.content[start - section.at..start - section.at + size];
        reader.read_bytes(size)?;
        let patched = patch(bytes, start, growth, plan)?;
        if patched.bytes.len() == size {
            // Keep the original encoding of the size, which may not be the shortest.
            content.extend_from_slice(&section.content[before - section.at..start - section.at]);
        } else {
            (patched.bytes.len() as u32).encode(&mut content);
        }
        let base = content.len();
        for (source, within) in patched.shifts {
            shifts.push((source, base + within));
        }
        content.extend_from_slice(&patched.bytes);
    }
    content.extend_from_slice(entries);
    let base = content_start(at, content.len());
    for (source, within) in shifts {
        shift(offsets, source as u64, (base + within) as u64);
    }
    Ok(content)
}

/// Records that code moved from `source` to `here`, unless the last record says so already.
fn shift(offsets: &mut Vec<OffsetShift>, source: u64, here: u64) {
    let back = source as i64 - here as i64;
    if offsets.last().is_none_or(|last| last.back != back) {
        offsets.push(OffsetShift { from: here, back });
    }
}

/// A rewritten function body.
struct Patched {
    bytes: Vec<u8>,
    /// Pairs (offset in the source, offset in `bytes`) where their distance may change.
    shifts: Vec<(usize, usize)>,
}

fn patch(
    bytes: &[u8],
    start: usize,
    growth: Option<GrowthGlobals>,
    plan: &Plan,
) -> Result<Patched, Error> {
    let mut patched = Patched {
        bytes: Vec::with_capacity(bytes.len()),
        shifts: vec![(start, 0)],
    };
    let mut copied = 0;
    if let Some(globals) = growth {
        let body = wasmparser::FunctionBody::new(wasmparser::BinaryReader::new(bytes, start));
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, at) = operators.read_with_offset()?;
            let mut instead = Vec::new();
            match operator {
                Operator::MemoryGrow { .. } => {
                    // The added function has the highest index.
                    instead.push(0x10);
                    plan.functions.encode(&mut instead);
                }
                Operator::MemorySize { .. } => {
                    instead.push(0x23);
                    globals.pages.encode(&mut instead);
                }
                _ => continue,
            }
            patched.bytes.extend_from_slice(&bytes[copied..at - start]);
            patched.bytes.extend_from_slice(&instead);
            let after = operators.original_position();
            copied = after - start;
            patched.shifts.push((after, patched.bytes.len()));
        }
    }
    patched.bytes.extend_from_slice(&bytes[copied..]);
    Ok(patched)
}
