//! Writing the other module: every byte that need not change is copied.

use std::borrow::Cow;

use ferrite_cache::{OffsetShift, Rewind, RewindPlan};
use wasm_encoder::{ConstExpr, Encode, ExportKind, GlobalType, MemoryType, SectionId, ValType};
use wasmparser::{Error, Operator, Parser};

use super::Rewritten;
use super::decide::{Growth, Plan, RESERVED_PREFIX};
use super::grow::{GrowthGlobals, body};

/// The order in which sections stand in a module; custom ones stand anywhere.
const ORDER: [SectionId; 12] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Global,
    SectionId::Export,
    SectionId::Start,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

/// A section of the source: its id, its content without the header, and where that begins.
struct Piece<'a> {
    id: u8,
    content: &'a [u8],
    at: usize,
}

/// Puts into `wasm` what `plan` says.
pub(super) fn splice<'a>(wasm: &'a [u8], plan: &Plan) -> Result<Rewritten<'a>, Error> {
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
    for (ordinal, &index) in plan.mutable_globals.iter().enumerate() {
        let name = format!("{RESERVED_PREFIX}global_{ordinal}");
        additions.export(&name, ExportKind::Global, index);
    }
    if plan.memory {
        // Whatever name the module gives it, if any.
        additions.export(&format!("{RESERVED_PREFIX}memory"), ExportKind::Memory, 0);
    }
    if let Some(start) = plan.start {
        let name = format!("{RESERVED_PREFIX}start");
        additions.export(&name, ExportKind::Func, start);
    }
    if plan.data {
        additions.empty_segment();
    }
    if let Some((growth, globals)) = growth {
        additions.grow(plan, growth, globals);
    }

    let pieces = pieces(wasm)?;
    let mut out = Writer {
        bytes: wasm[..8].to_vec(),
        offsets: Vec::new(),
    };
    let mut missing = ORDER.iter().copied().peekable();
    for piece in &pieces {
        // Sections that the source lacks and the additions need come before the next one that has
        // a place in the order.
        if let Some(place) = ORDER.iter().position(|&id| id as u8 == piece.id) {
            while let Some(id) =
                missing.next_if(|&id| ORDER.iter().position(|&other| other == id) < Some(place))
            {
                additions.create(id, &mut out.bytes);
            }
            missing.next();
        }
        out.section(piece, &additions, growth.map(|(_, globals)| globals), plan)?;
    }
    for id in missing {
        additions.create(id, &mut out.bytes);
    }
    let Writer { bytes, offsets } = out;
    Ok(Rewritten {
        wasm: Cow::Owned(bytes),
        rewind: rewind(offsets),
    })
}

fn pieces(wasm: &[u8]) -> Result<Vec<Piece<'_>>, Error> {
    let mut pieces = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Some((id, range)) = payload.as_section() {
            pieces.push(Piece {
                id,
                content: &wasm[range.clone()],
                at: range.start,
            });
        }
    }
    Ok(pieces)
}

/// Entries that go to the end of sections.
#[derive(Default)]
struct Additions {
    types: Vec<u8>,
    functions: Vec<u8>,
    globals: (u32, Vec<u8>),
    exports: (u32, Vec<u8>),
    code: Vec<u8>,
    data: Vec<u8>,
    memory: Vec<u8>,
}

impl Additions {
    fn export(&mut self, name: &str, kind: ExportKind, index: u32) {
        self.exports.0 += 1;
        name.encode(&mut self.exports.1);
        kind.encode(&mut self.exports.1);
        index.encode(&mut self.exports.1);
    }

    /// A data segment of no bytes at `0 + 0`; see `rewrite`.
    fn empty_segment(&mut self) {
        const ACTIVE: u32 = 0;
        ACTIVE.encode(&mut self.data);
        let zero = ConstExpr::i32_const(0);
        zero.with_i32_const(0).with_i32_add().encode(&mut self.data);
        [0_u8; 0].as_slice().encode(&mut self.data);
    }

    fn grow(&mut self, plan: &Plan, growth: Growth, globals: GrowthGlobals) {
        let GrowthGlobals {
            pages,
            limit,
            refused,
        } = globals;
        // (func (param i32) (result i32))
        self.types.push(0x60);
        [ValType::I32].encode(&mut self.types);
        [ValType::I32].encode(&mut self.types);
        plan.types.encode(&mut self.functions);
        for (name, index, value) in [
            ("pages", pages, growth.pages),
            ("pages_max", limit, growth.pages_max),
            ("pages_refused", refused, 0),
        ] {
            let ty = GlobalType {
                val_type: ValType::I32,
                mutable: true,
                shared: false,
            };
            self.globals.0 += 1;
            ty.encode(&mut self.globals.1);
            ConstExpr::i32_const(value as i32).encode(&mut self.globals.1);
            let name = format!("{RESERVED_PREFIX}{name}");
            self.export(&name, ExportKind::Global, index);
        }
        self.code = body(globals);
        MemoryType {
            minimum: growth.pages_with_headroom,
            maximum: (growth.pages_max < 65_536).then_some(growth.pages_max),
            memory64: false,
            shared: false,
            page_size_log2: None,
        }
        .encode(&mut self.memory);
    }

    /// What goes to the end of a section, and how many entries that is.
    fn for_section(&self, id: u8) -> (u32, &[u8]) {
        let one = |bytes: &Vec<u8>| u32::from(!bytes.is_empty());
        if id == SectionId::Type as u8 {
            (one(&self.types), &self.types)
        } else if id == SectionId::Function as u8 {
            (one(&self.functions), &self.functions)
        } else if id == SectionId::Global as u8 {
            (self.globals.0, &self.globals.1)
        } else if id == SectionId::Export as u8 {
            (self.exports.0, &self.exports.1)
        } else if id == SectionId::Code as u8 {
            (one(&self.code), &self.code)
        } else if id == SectionId::Data as u8 {
            (one(&self.data), &self.data)
        } else if id == SectionId::DataCount as u8 {
            // The section holds the number and nothing else.
            (one(&self.data), &[])
        } else {
            (0, &[])
        }
    }

    /// Writes a section that the source does not have, if anything is to go into it.
    fn create(&self, id: SectionId, out: &mut Vec<u8>) {
        let (count, entries) = self.for_section(id as u8);
        // Only data segments need a section that counts them, and only where code names one.
        if count > 0 && id != SectionId::DataCount {
            out.push(id as u8);
            let mut content = Vec::new();
            count.encode(&mut content);
            content.extend_from_slice(entries);
            content.as_slice().encode(out);
        }
    }
}

/// The module as it is being written.
struct Writer {
    bytes: Vec<u8>,
    offsets: Vec<OffsetShift>,
}

impl Writer {
    fn section(
        &mut self,
        piece: &Piece<'_>,
        additions: &Additions,
        growth: Option<GrowthGlobals>,
        plan: &Plan,
    ) -> Result<(), Error> {
        if piece.id == SectionId::Start as u8 {
            // The function is exported instead.
            return Ok(());
        }
        if piece.id == SectionId::Code as u8 {
            return self.code(piece, additions, growth, plan);
        }
        let mut content = Vec::new();
        if piece.id == SectionId::Memory as u8 && !additions.memory.is_empty() {
            1_u32.encode(&mut content);
            content.extend_from_slice(&additions.memory);
        } else {
            let (count, entries) = additions.for_section(piece.id);
            if count == 0 {
                content.extend_from_slice(piece.content);
            } else {
                let mut reader = wasmparser::BinaryReader::new(piece.content, piece.at);
                let before = reader.read_var_u32()?;
                let rest = &piece.content[reader.original_position() - piece.at..];
                (before + count).encode(&mut content);
                content.extend_from_slice(rest);
                content.extend_from_slice(entries);
            }
        }
        self.bytes.push(piece.id);
        content.as_slice().encode(&mut self.bytes);
        Ok(())
    }

    /// Copies the code; `memory.grow` and `memory.size` become a call and a global.
    fn code(
        &mut self,
        piece: &Piece<'_>,
        additions: &Additions,
        growth: Option<GrowthGlobals>,
        plan: &Plan,
    ) -> Result<(), Error> {
        let (added, entries) = additions.for_section(piece.id);
        let mut reader = wasmparser::BinaryReader::new(piece.content, piece.at);
        let count = reader.read_var_u32()?;
        let mut content = Vec::new();
        (count + added).encode(&mut content);
        // Shifts within the content: (where in the source, where in the content).
        let mut shifts = Vec::new();
        for _ in 0..count {
            let before = reader.original_position();
            let size = reader.read_var_u32()? as usize;
            let start = reader.original_position();
            let bytes = &piece.content[start - piece.at..start - piece.at + size];
            reader.read_bytes(size)?;
            let patched = patch(bytes, start, growth, plan)?;
            if patched.bytes.len() == size {
                // As it was written, which need not be the shortest way.
                content.extend_from_slice(&piece.content[before - piece.at..start - piece.at]);
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
        self.bytes.push(piece.id);
        (content.len() as u32).encode(&mut self.bytes);
        let base = self.bytes.len();
        for (source, within) in shifts {
            self.shift(source as u64, (base + within) as u64);
        }
        self.bytes.extend_from_slice(&content);
        Ok(())
    }

    /// Notes that `source` stands at `here` now, unless that follows from the last note.
    fn shift(&mut self, source: u64, here: u64) {
        let back = source as i64 - here as i64;
        if self.offsets.last().is_none_or(|last| last.back != back) {
            self.offsets.push(OffsetShift { from: here, back });
        }
    }
}

/// A function's body after the change.
struct Patched {
    bytes: Vec<u8>,
    /// (offset in the source, offset in `bytes`) wherever the distance may have changed.
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
                    // The added function comes after all others.
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
