//! Functions that replace instructions on ranges, such as `memory.copy`: they pay by length, and
//! process long ranges in pieces.

use std::collections::HashMap;

use ferrite_cache::{TABLE_ELEMENTS_MAX, WASM_PAGE_BYTES};
use wasm_encoder::{
    BlockType, Encode, Function, InstructionSink, MemArg, RefType, SectionId, ValType,
};
use wasmparser::Operator;

use super::Added;
use super::pay::settle;
use crate::sections::Additions;

/// Bytes of memory that one unit pays to copy or fill, as a shift.
const BYTES_PER_UNIT_LOG2: i64 = 3;

/// Units per page of 64 KiB that memory grows by. They pay for the faults of its 16 machine pages
/// when they are first touched.
const UNITS_PER_PAGE: i64 = 2048;

/// Longest range of memory processed at once, in bytes: some ten microseconds.
const PIECE_BYTES: i32 = 256 << 10;

/// Longest range that two loads and two stores process, in bytes. It costs nothing besides the
/// instruction.
const SHORT_BYTES: i32 = 16;

/// Addresses from which the end of a short range may not fit into 32 bits.
const LAST_ADDRESSES: i32 = -32;

/// The only memory of a module.
const MEMORY: u32 = 0;

/// An instruction on a range, with its immediates. A module has one memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RangeKind {
    MemoryCopy,
    MemoryFill,
    MemoryGrow,
    Whole(Whole),
}

/// A range that is paid for and processed at once. A table element costs a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whole {
    MemoryInit { data: u32 },
    TableCopy { to: u32, from: u32 },
    TableInit { element: u32, table: u32 },
    TableFill { table: u32 },
    TableGrow { table: u32 },
}

impl RangeKind {
    /// Returns the kind of an instruction; `None` if it does not work on a range.
    pub(super) fn of(operator: &Operator<'_>) -> Option<Self> {
        Some(match *operator {
            Operator::MemoryCopy { .. } => Self::MemoryCopy,
            Operator::MemoryFill { .. } => Self::MemoryFill,
            Operator::MemoryGrow { .. } => Self::MemoryGrow,
            Operator::MemoryInit { data_index, .. } => {
                Self::Whole(Whole::MemoryInit { data: data_index })
            }
            Operator::TableCopy {
                dst_table,
                src_table,
            } => Self::Whole(Whole::TableCopy {
                to: dst_table,
                from: src_table,
            }),
            Operator::TableInit { elem_index, table } => Self::Whole(Whole::TableInit {
                element: elem_index,
                table,
            }),
            Operator::TableFill { table } => Self::Whole(Whole::TableFill { table }),
            Operator::TableGrow { table } => Self::Whole(Whole::TableGrow { table }),
            _ => return None,
        })
    }
}

/// The locals for the first and the last value of a short range.
const FIRST: u32 = 4;
const LAST: u32 = 5;

/// Bytes that a load or store of a short range takes.
#[derive(Clone, Copy)]
enum Width {
    Eight,
    Four,
    Two,
    One,
}

impl Width {
    const ALL: [Self; 4] = [Self::Eight, Self::Four, Self::Two, Self::One];

    fn bytes(self) -> i32 {
        match self {
            Self::Eight => 8,
            Self::Four => 4,
            Self::Two => 2,
            Self::One => 1,
        }
    }

    fn memarg() -> MemArg {
        MemArg {
            offset: 0,
            align: 0,
            memory_index: MEMORY,
        }
    }

    fn load(self, code: &mut InstructionSink<'_>) {
        let at = Self::memarg();
        match self {
            Self::Eight => code.i64_load(at),
            Self::Four => code.i64_load32_u(at),
            Self::Two => code.i64_load16_u(at),
            Self::One => code.i64_load8_u(at),
        };
    }

    fn store(self, code: &mut InstructionSink<'_>) {
        let at = Self::memarg();
        match self {
            Self::Eight => code.i64_store(at),
            Self::Four => code.i64_store32(at),
            Self::Two => code.i64_store16(at),
            Self::One => code.i64_store8(at),
        };
    }
}

fn len(lens: &[u32], index: u32) -> i32 {
    lens.get(index as usize).copied().unwrap_or(0).cast_signed()
}

/// The functions that a module needs so far.
pub(super) struct Ranges {
    added: Added,
    /// Index of the next type and of the next function.
    next_type: u32,
    next_function: u32,
    functions: HashMap<RangeKind, u32>,
    /// Ranges in the order of their functions' indices.
    order: Vec<RangeKind>,
    /// Length of each data segment in bytes, and number of elements of each element segment.
    data_lens: Vec<u32>,
    element_lens: Vec<u32>,
}

impl Ranges {
    /// Creates an empty list for a module with its first free type and function, and the lengths of its segments.
    pub(super) fn new(
        added: Added,
        next_type: u32,
        next_function: u32,
        data_lens: Vec<u32>,
        element_lens: Vec<u32>,
    ) -> Self {
        Self {
            added,
            next_type,
            next_function,
            functions: HashMap::new(),
            order: Vec::new(),
            data_lens,
            element_lens,
        }
    }

    /// Returns the function to call instead of an instruction on a range.
    pub(super) fn function(&mut self, range: RangeKind) -> u32 {
        let next = &mut self.next_function;
        let order = &mut self.order;
        *self.functions.entry(range).or_insert_with(|| {
            order.push(range);
            *next += 1;
            *next - 1
        })
    }

    /// Adds the functions and their types.
    pub(super) fn add_to(&self, additions: &mut Additions) {
        for (number, range) in self.order.iter().enumerate() {
            let (params, results) = Self::signature(*range);
            additions.add(SectionId::Type, |out| {
                out.push(0x60);
                params.as_slice().encode(out);
                results.encode(out);
            });
            let ty = self.next_type + number as u32;
            additions.add(SectionId::Function, |out| ty.encode(out));
            additions.add(SectionId::Code, |out| self.body(*range).encode(out));
        }
    }

    fn data_len(&self, data: u32) -> i32 {
        len(&self.data_lens, data)
    }

    fn element_len(&self, element: u32) -> i32 {
        len(&self.element_lens, element)
    }

    fn signature(range: RangeKind) -> (Vec<ValType>, &'static [ValType]) {
        use ValType::I32;
        // Modules may use no other type of reference.
        const REFERENCE: ValType = ValType::Ref(RefType::FUNCREF);
        match range {
            RangeKind::MemoryCopy
            | RangeKind::MemoryFill
            | RangeKind::Whole(
                Whole::MemoryInit { .. } | Whole::TableCopy { .. } | Whole::TableInit { .. },
            ) => (vec![I32, I32, I32], &[]),
            RangeKind::MemoryGrow => (vec![I32], &[I32]),
            RangeKind::Whole(Whole::TableFill { .. }) => (vec![I32, REFERENCE, I32], &[]),
            RangeKind::Whole(Whole::TableGrow { .. }) => (vec![REFERENCE, I32], &[I32]),
        }
    }

    fn body(&self, range: RangeKind) -> Function {
        match range {
            RangeKind::MemoryCopy => self.copy_in_pieces(),
            RangeKind::MemoryFill => self.fill_in_pieces(),
            RangeKind::MemoryGrow => self.grow(),
            RangeKind::Whole(whole) => self.whole(whole),
        }
    }

    /// Pays for the whole range at once, but at most for the length that can succeed: that of the
    /// segment, the size of the table, or for growth the most elements that a table may have. A longer
    /// range moves nothing, whatever its length.
    fn whole(&self, range: Whole) -> Function {
        let (params, _) = Self::signature(RangeKind::Whole(range));
        // The length is the last parameter.
        let length = params.len() as u32 - 1;
        let most = params.len() as u32;
        let mut function = Function::new([(1, ValType::I32)]);
        let mut code = function.instructions();
        match range {
            Whole::MemoryInit { data } => code.i32_const(self.data_len(data)),
            Whole::TableInit { element, .. } => code.i32_const(self.element_len(element)),
            Whole::TableCopy { from, .. } => code.table_size(from),
            Whole::TableFill { table } => code.table_size(table),
            Whole::TableGrow { .. } => code.i32_const(TABLE_ELEMENTS_MAX as i32),
        };
        code.local_set(most)
            .global_get(self.added.fuel)
            .local_get(length)
            .local_get(most)
            .local_get(length)
            .local_get(most)
            .i32_lt_u()
            .select()
            .i64_extend_i32_u();
        if let Whole::MemoryInit { .. } = range {
            code.i64_const(BYTES_PER_UNIT_LOG2).i64_shr_u();
        }
        code.i64_sub();
        settle(&mut code, self.added);
        for param in 0..=length {
            code.local_get(param);
        }
        match range {
            Whole::MemoryInit { data } => code.memory_init(MEMORY, data),
            Whole::TableCopy { to, from } => code.table_copy(to, from),
            Whole::TableInit { element, table } => code.table_init(table, element),
            Whole::TableFill { table } => code.table_fill(table),
            Whole::TableGrow { table } => code.table_grow(table),
        };
        code.end();
        function
    }

    /// `(func (param $pages i32) (result i32))`
    ///
    /// Growth is paid afterwards: a guest whose growth is refused gets -1, pays nothing and
    /// continues.
    fn grow(&self) -> Function {
        let (pages, before) = (0, 1);
        let mut function = Function::new([(1, ValType::I32)]);
        let mut code = function.instructions();
        code.local_get(pages)
            .memory_grow(MEMORY)
            .local_tee(before)
            .i32_const(-1)
            .i32_ne()
            .if_(BlockType::Empty)
            .global_get(self.added.fuel)
            .local_get(pages)
            .i64_extend_i32_u()
            .i64_const(UNITS_PER_PAGE)
            .i64_mul()
            .i64_sub();
        settle(&mut code, self.added);
        code.end().local_get(before).end();
        function
    }

    /// Pays for the length in the local `piece`.
    fn pay(&self, code: &mut InstructionSink<'_>, piece: u32) {
        code.global_get(self.added.fuel)
            .local_get(piece)
            .i64_extend_i32_u()
            .i64_const(BYTES_PER_UNIT_LOG2)
            .i64_shr_u()
            .i64_sub();
        settle(code, self.added);
    }

    /// Leaves 1 on the stack if the range of `length` bytes from `start` ends outside the memory,
    /// else 0.
    fn is_outside(code: &mut InstructionSink<'_>, start: u32, length: u32) {
        code.local_get(start)
            .i64_extend_i32_u()
            .local_get(length)
            .i64_extend_i32_u()
            .i64_add()
            .memory_size(MEMORY)
            .i64_extend_i32_u()
            .i64_const(i64::from(WASM_PAGE_BYTES.ilog2()))
            .i64_shl()
            .i64_gt_u();
    }

    /// Moves a range of 1 to [`SHORT_BYTES`] bytes, and returns from the function.
    ///
    /// ```text
    /// for width in 8, 4, 2, 1:
    ///     if $length >= width:
    ///         the values of `width` bytes for the beginning and the end, which may overlap
    ///         store the one at the end, then the one at the beginning
    /// ```
    ///
    /// A range that leaves the memory traps at the store of its end, if not at a load, before anything is
    /// written.
    fn move_short(
        code: &mut InstructionSink<'_>,
        [to, length]: [u32; 2],
        values: impl Fn(&mut InstructionSink<'_>, Width),
    ) {
        for width in Width::ALL {
            code.local_get(length)
                .i32_const(width.bytes())
                .i32_ge_u()
                .if_(BlockType::Empty);
            values(code, width);
            code.local_get(to)
                .local_get(length)
                .i32_add()
                .i32_const(width.bytes())
                .i32_sub()
                .local_get(LAST);
            width.store(code);
            code.local_get(to).local_get(FIRST);
            width.store(code);
            code.return_().end();
        }
    }

    /// Opens a block for ranges of 1 to [`SHORT_BYTES`] bytes that end below 4 GiB.
    fn if_short(code: &mut InstructionSink<'_>, addresses: &[u32], length: u32) {
        for (place, &address) in addresses.iter().enumerate() {
            code.local_get(address);
            if place > 0 {
                code.i32_or();
            }
        }
        code.i32_const(LAST_ADDRESSES)
            .i32_lt_u()
            // Without the length 0, which wraps around.
            .local_get(length)
            .i32_const(1)
            .i32_sub()
            .i32_const(SHORT_BYTES)
            .i32_lt_u()
            .i32_and()
            .if_(BlockType::Empty);
    }

    /// `(func (param $to i32) (param $value i32) (param $length i32))`
    ///
    /// ```text
    /// if $length is short: store it
    /// if $length <= PIECE: pay for it; memory.fill $to $value $length
    /// otherwise:
    /// if the range ends outside the memory: memory.fill, which traps
    /// while $length > PIECE: pay for a piece; fill it; $to += PIECE; $length -= PIECE
    /// pay for $length; memory.fill $to $value $length
    /// ```
    fn fill_in_pieces(&self) -> Function {
        let (to, value, length, piece) = (0, 1, 2, 3);
        let mut function = Function::new([(1, ValType::I32), (2, ValType::I64)]);
        let mut code = function.instructions();
        Self::if_short(&mut code, &[to], length);
        Self::move_short(&mut code, [to, length], |code, _| {
            // Every byte of both is the value's lowest.
            code.local_get(value)
                .i32_const(0xff)
                .i32_and()
                .i64_extend_i32_u()
                .i64_const(0x0101_0101_0101_0101)
                .i64_mul()
                .local_tee(FIRST)
                .local_set(LAST);
        });
        code.end();
        code.local_get(length)
            .i32_const(PIECE_BYTES)
            .i32_le_u()
            .if_(BlockType::Empty);
        self.pay(&mut code, length);
        code.local_get(to)
            .local_get(value)
            .local_get(length)
            .memory_fill(MEMORY)
            .return_()
            .end();
        code.i32_const(PIECE_BYTES).local_set(piece);
        Self::is_outside(&mut code, to, length);
        code.if_(BlockType::Empty)
            .local_get(to)
            .local_get(value)
            .local_get(length)
            .memory_fill(MEMORY)
            .end();
        code.block(BlockType::Empty).loop_(BlockType::Empty);
        code.local_get(length).local_get(piece).i32_le_u().br_if(1);
        self.pay(&mut code, piece);
        code.local_get(to)
            .local_get(value)
            .local_get(piece)
            .memory_fill(MEMORY)
            .local_get(to)
            .local_get(piece)
            .i32_add()
            .local_set(to)
            .local_get(length)
            .local_get(piece)
            .i32_sub()
            .local_set(length)
            .br(0)
            .end()
            .end();
        self.pay(&mut code, length);
        code.local_get(to)
            .local_get(value)
            .local_get(length)
            .memory_fill(MEMORY)
            .end();
        function
    }

    /// `(func (param $to i32) (param $from i32) (param $length i32))`
    ///
    /// The pieces go upwards if the target begins below the source, else downwards, so that no
    /// piece overwrites bytes that another still has to read.
    fn copy_in_pieces(&self) -> Function {
        let (to, from, length, piece) = (0, 1, 2, 3);
        let mut function = Function::new([(1, ValType::I32), (2, ValType::I64)]);
        let mut code = function.instructions();
        Self::if_short(&mut code, &[to, from], length);
        Self::move_short(&mut code, [to, length], |code, width| {
            // Both are loaded before either is stored: the ranges may overlap.
            code.local_get(from);
            width.load(code);
            code.local_set(FIRST)
                .local_get(from)
                .local_get(length)
                .i32_add()
                .i32_const(width.bytes())
                .i32_sub();
            width.load(code);
            code.local_set(LAST);
        });
        code.end();
        code.local_get(length)
            .i32_const(PIECE_BYTES)
            .i32_le_u()
            .if_(BlockType::Empty);
        self.pay(&mut code, length);
        code.local_get(to)
            .local_get(from)
            .local_get(length)
            .memory_copy(MEMORY, MEMORY)
            .return_()
            .end();
        code.i32_const(PIECE_BYTES).local_set(piece);
        Self::is_outside(&mut code, to, length);
        Self::is_outside(&mut code, from, length);
        code.i32_or()
            .if_(BlockType::Empty)
            .local_get(to)
            .local_get(from)
            .local_get(length)
            .memory_copy(MEMORY, MEMORY)
            .end();
        code.block(BlockType::Empty).loop_(BlockType::Empty);
        code.local_get(length).local_get(piece).i32_le_u().br_if(1);
        self.pay(&mut code, piece);
        code.local_get(length)
            .local_get(piece)
            .i32_sub()
            .local_set(length)
            .local_get(to)
            .local_get(from)
            .i32_le_u()
            .if_(BlockType::Empty)
            .local_get(to)
            .local_get(from)
            .local_get(piece)
            .memory_copy(MEMORY, MEMORY)
            .local_get(to)
            .local_get(piece)
            .i32_add()
            .local_set(to)
            .local_get(from)
            .local_get(piece)
            .i32_add()
            .local_set(from)
            .else_()
            .local_get(to)
            .local_get(length)
            .i32_add()
            .local_get(from)
            .local_get(length)
            .i32_add()
            .local_get(piece)
            .memory_copy(MEMORY, MEMORY)
            .end()
            .br(0)
            .end()
            .end();
        self.pay(&mut code, length);
        code.local_get(to)
            .local_get(from)
            .local_get(length)
            .memory_copy(MEMORY, MEMORY)
            .end();
        function
    }
}
