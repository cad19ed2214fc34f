//! Adds entries to a module, so that all of its exports can be called as functions, and what they
//! leave can be seen.

use std::borrow::Cow;
use std::collections::BTreeMap;

use wasm_encoder::{BlockType, Encode, ExportKind, Function, InstructionSink, SectionId, ValType};
use wasmparser::{CompositeInnerType, ExternalKind, GlobalType, Parser, Payload, TypeRef};

/// Order of the sections that are added to.
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

/// Parameters and results of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FuncType {
    pub(crate) params: Vec<wasmparser::ValType>,
    pub(crate) results: Vec<wasmparser::ValType>,
}

/// A module with entries added to it.
pub(crate) struct Adapter<'a> {
    sections: Vec<(u8, Cow<'a, [u8]>)>,
    additions: BTreeMap<usize, (u32, Vec<u8>)>,
    types: Vec<FuncType>,
    /// Indices of the functions' types, those of imported functions first.
    functions: Vec<u32>,
    pub(crate) imports: u32,
    pub(crate) globals: Vec<GlobalType>,
    pub(crate) tables: u32,
    pub(crate) memories: u32,
    pub(crate) exports: Vec<(String, ExternalKind, u32)>,
}

impl<'a> Adapter<'a> {
    /// Reads a valid module. `None` if it uses types that are no functions.
    pub(crate) fn new(wasm: &'a [u8]) -> Option<Self> {
        let mut adapter = Self {
            sections: Vec::new(),
            additions: BTreeMap::new(),
            types: Vec::new(),
            functions: Vec::new(),
            imports: 0,
            globals: Vec::new(),
            tables: 0,
            memories: 0,
            exports: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.ok()?;
            if let Some((id, range)) = payload.as_section() {
                adapter.sections.push((id, Cow::Borrowed(&wasm[range])));
            }
            adapter.read(payload)?;
        }
        Some(adapter)
    }

    fn read(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group.ok()?.types() {
                        let CompositeInnerType::Func(func) = &ty.composite_type.inner else {
                            return None;
                        };
                        self.types.push(FuncType {
                            params: func.params().to_vec(),
                            results: func.results().to_vec(),
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.imports += 1;
                    match import.ok()?.ty {
                        TypeRef::Func(ty) => self.functions.push(ty),
                        TypeRef::Global(ty) => self.globals.push(ty),
                        TypeRef::Table(_) => self.tables += 1,
                        TypeRef::Memory(_) => self.memories += 1,
                        _ => return None,
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty.ok()?);
                }
            }
            Payload::TableSection(section) => self.tables += section.count(),
            Payload::MemorySection(section) => self.memories += section.count(),
            Payload::GlobalSection(section) => {
                for global in section {
                    self.globals.push(global.ok()?.ty);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    self.exports
                        .push((export.name.to_owned(), export.kind, export.index));
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Returns the type of a function.
    pub(crate) fn signature(&self, function: u32) -> Option<&FuncType> {
        self.types
            .get(*self.functions.get(function as usize)? as usize)
    }

    fn add(&mut self, id: SectionId, write: impl FnOnce(&mut Vec<u8>)) {
        let place = ORDER.iter().position(|&other| other == id);
        let place = place.expect("only these are added to");
        let (count, bytes) = self.additions.entry(place).or_default();
        *count += 1;
        write(bytes);
    }

    /// Exports a function under another name too.
    pub(crate) fn export(&mut self, name: &str, function: u32) {
        self.add(SectionId::Export, |out| {
            name.encode(out);
            ExportKind::Func.encode(out);
            function.encode(out);
        });
    }

    /// Adds a function; returns its index.
    pub(crate) fn func(&mut self, params: &[ValType], results: &[ValType], body: &Function) -> u32 {
        let ty = self.types.len() as u32;
        self.types.push(FuncType {
            params: params.iter().map(|ty| plain(*ty)).collect(),
            results: results.iter().map(|ty| plain(*ty)).collect(),
        });
        self.add(SectionId::Type, |out| {
            out.push(0x60);
            params.encode(out);
            results.encode(out);
        });
        self.add(SectionId::Function, |out| ty.encode(out));
        self.add(SectionId::Code, |out| body.encode(out));
        self.functions.push(ty);
        self.functions.len() as u32 - 1
    }

    /// Adds a function that calls `function` with numbers alone: a vector is two of type `i64`, the low
    /// half first. If `then` is a function, its `i64` is one more result. `None` if a parameter or result
    /// is a reference.
    pub(crate) fn with_numbers(&mut self, function: u32, then: Option<u32>) -> Option<u32> {
        let FuncType { params, results } = self.signature(function)?.clone();
        let split = |types: &[wasmparser::ValType]| {
            let mut split = Vec::new();
            for ty in types {
                match ty {
                    wasmparser::ValType::V128 => split.extend([ValType::I64, ValType::I64]),
                    other => split.push(number(*other)?),
                }
            }
            Some(split)
        };
        let (outer_params, mut outer_results) = (split(&params)?, split(&results)?);
        let first = outer_params.len() as u32;
        let locals: Vec<_> = results
            .iter()
            .map(|ty| (1, number(*ty).unwrap_or(ValType::V128)))
            .collect();
        let mut body = Function::new(locals);
        let mut code = body.instructions();
        let mut local = 0;
        for param in &params {
            code.local_get(local);
            local += 1;
            if *param == wasmparser::ValType::V128 {
                code.i64x2_splat().local_get(local).i64x2_replace_lane(1);
                local += 1;
            }
        }
        code.call(function);
        for index in (0..results.len() as u32).rev() {
            code.local_set(first + index);
        }
        for (result, local) in results.iter().zip(first..) {
            code.local_get(local);
            if *result == wasmparser::ValType::V128 {
                code.i64x2_extract_lane(0)
                    .local_get(local)
                    .i64x2_extract_lane(1);
            }
        }
        if let Some(then) = then {
            code.call(then);
            outer_results.push(ValType::I64);
        }
        code.end();
        Some(self.func(&outer_params, &outer_results, &body))
    }

    /// Adds a function that returns a global; `None` if that is no number.
    pub(crate) fn getter(&mut self, global: u32) -> Option<u32> {
        let ty = number(self.globals.get(global as usize)?.content_type)?;
        let mut body = Function::new([]);
        body.instructions().global_get(global).end();
        Some(self.func(&[], &[ty], &body))
    }

    /// Adds a function that returns a hash of all memory, all globals and the sizes of all tables.
    pub(crate) fn digest(&mut self) -> u32 {
        let (hash, at, end) = (0, 1, 2);
        let mut body = Function::new([(1, ValType::I64), (2, ValType::I32)]);
        let mut code = body.instructions();
        for (index, global) in self.globals.iter().enumerate() {
            code.global_get(index as u32);
            match global.content_type {
                wasmparser::ValType::I32 => {
                    code.i64_extend_i32_u();
                }
                wasmparser::ValType::I64 => {}
                wasmparser::ValType::F32 => {
                    code.i32_reinterpret_f32().i64_extend_i32_u();
                }
                wasmparser::ValType::F64 => {
                    code.i64_reinterpret_f64();
                }
                wasmparser::ValType::V128 => {
                    code.i64x2_extract_lane(0);
                    mix(&mut code, hash);
                    code.global_get(index as u32).i64x2_extract_lane(1);
                }
                wasmparser::ValType::Ref(_) => {
                    code.ref_is_null().i64_extend_i32_u();
                }
            }
            mix(&mut code, hash);
        }
        for table in 0..self.tables {
            code.table_size(table).i64_extend_i32_u();
            mix(&mut code, hash);
        }
        for memory in 0..self.memories {
            let word = wasm_encoder::MemArg {
                offset: 0,
                align: 3,
                memory_index: memory,
            };
            code.memory_size(memory).i64_extend_i32_u();
            mix(&mut code, hash);
            code.memory_size(memory)
                .i32_const(16)
                .i32_shl()
                .local_set(end)
                .i32_const(0)
                .local_set(at)
                .block(BlockType::Empty)
                .loop_(BlockType::Empty)
                .local_get(at)
                .local_get(end)
                .i32_ge_u()
                .br_if(1)
                .local_get(at)
                .i64_load(word);
            mix(&mut code, hash);
            code.local_get(at)
                .i32_const(8)
                .i32_add()
                .local_set(at)
                .br(0)
                .end()
                .end();
        }
        code.local_get(hash).end();
        self.func(&[], &[ValType::I64], &body)
    }

    /// Returns the module.
    pub(crate) fn finish(self) -> Vec<u8> {
        let place = |id: u8| ORDER.iter().position(|&other| other as u8 == id);
        let mut out = b"\0asm\x01\0\0\0".to_vec();
        let mut additions = self.additions.into_iter().peekable();
        let mut write = |id: u8, content: &[u8]| {
            out.push(id);
            content.encode(&mut out);
        };
        let joined = |before: u32, rest: &[u8], (count, bytes): (u32, Vec<u8>)| {
            let mut content = Vec::new();
            (before + count).encode(&mut content);
            content.extend_from_slice(rest);
            content.extend(bytes);
            content
        };
        for (id, content) in self.sections {
            let Some(here) = place(id) else {
                write(id, &content);
                continue;
            };
            while let Some((before, added)) = additions.next_if(|(place, _)| *place < here) {
                write(ORDER[before] as u8, &joined(0, &[], added));
            }
            match additions.next_if(|(place, _)| *place == here) {
                Some((_, added)) => {
                    let mut reader = wasmparser::BinaryReader::new(&content, 0);
                    let count = reader.read_var_u32().expect("a section begins with it");
                    let rest = &content[reader.original_position()..];
                    write(id, &joined(count, rest, added));
                }
                None => write(id, &content),
            }
        }
        for (place, added) in additions {
            write(ORDER[place] as u8, &joined(0, &[], added));
        }
        out
    }
}

/// Mixes the `i64` on the stack into the local `hash`, as FNV-1a does with bytes.
fn mix(code: &mut InstructionSink<'_>, hash: u32) {
    code.local_get(hash)
        .i64_xor()
        .i64_const(0x0100_0000_01b3)
        .i64_mul()
        .i64_const(29)
        .i64_rotl()
        .local_set(hash);
}

/// Returns the type of a number.
fn number(ty: wasmparser::ValType) -> Option<ValType> {
    match ty {
        wasmparser::ValType::I32 => Some(ValType::I32),
        wasmparser::ValType::I64 => Some(ValType::I64),
        wasmparser::ValType::F32 => Some(ValType::F32),
        wasmparser::ValType::F64 => Some(ValType::F64),
        wasmparser::ValType::V128 | wasmparser::ValType::Ref(_) => None,
    }
}

/// Returns the type of a number as the reader of modules has it.
fn plain(ty: ValType) -> wasmparser::ValType {
    match ty {
        ValType::I32 => wasmparser::ValType::I32,
        ValType::I64 => wasmparser::ValType::I64,
        ValType::F32 => wasmparser::ValType::F32,
        ValType::F64 => wasmparser::ValType::F64,
        ValType::V128 | ValType::Ref(_) => panic!("entries are added with numbers alone"),
    }
}
