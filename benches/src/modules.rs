//! WebAssembly modules of a chosen size, and the small functions that the benchmarks call.

use wasm_encoder::{
    BlockType, CodeSection, CustomSection, ExportKind, ExportSection, Function, FunctionSection,
    InstructionSink, MemArg, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// Sizes of the generated modules, by the size of their native code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// About 20 KB of artifact.
    Small,
    /// About 300 KB of artifact.
    Middle,
    /// About 5 MB of artifact.
    Large,
}

impl Size {
    /// All of them, smallest first.
    pub const ALL: [Self; 3] = [Self::Small, Self::Middle, Self::Large];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Middle => "middle",
            Self::Large => "large",
        }
    }

    /// Returns the number of functions of a module of this size.
    const fn functions(self) -> u32 {
        match self {
            Self::Small => 4,
            Self::Middle => 200,
            Self::Large => 3_600,
        }
    }
}

/// Number of arithmetic steps in each generated function.
const STEPS: u32 = 40;

/// A function calls the one before it, but chains of calls end after this many.
const CHAIN: u32 = 8;

/// A module of this size whose `run: (i64) -> i64` walks through a few of its functions.
///
/// The same `salt` gives the same bytes; another one gives other bytes of the same shape, so that a
/// benchmark can have any number of modules that no cache has seen yet.
#[must_use]
pub fn generated(size: Size, salt: u64) -> Vec<u8> {
    let count = size.functions();
    let mut module = Module::new();

    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I64]);
    module.section(&types);

    let mut functions = FunctionSection::new();
    for _ in 0..count {
        functions.function(0);
    }
    module.section(&functions);

    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);

    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("run", ExportKind::Func, count - 1);
    module.section(&exports);

    let mut dice = Dice(salt ^ 0x9e37_79b9_7f4a_7c15);
    let mut code = CodeSection::new();
    for index in 0..count {
        code.function(&body(index, &mut dice));
    }
    module.section(&code);

    module.section(&CustomSection {
        name: "salt".into(),
        data: salt.to_le_bytes().as_slice().into(),
    });
    module.finish()
}

/// One function: a mix of arithmetic, branches, loads and stores, as compiled code has it.
fn body(index: u32, dice: &mut Dice) -> Function {
    const VALUE: u32 = 0;
    const OTHER: u32 = 1;
    const ADDRESS: u32 = 2;
    let place = MemArg {
        offset: 0,
        align: 3,
        memory_index: 0,
    };
    let mut function = Function::new([(1, ValType::I64), (1, ValType::I32)]);
    let mut code = function.instructions();
    if !index.is_multiple_of(CHAIN) {
        code.local_get(VALUE).call(index - 1).local_set(OTHER);
    }
    for _ in 0..STEPS {
        match dice.roll(6) {
            0 => {
                // Within the one page that there is, eight bytes at a time.
                code.local_get(VALUE)
                    .i32_wrap_i64()
                    .i32_const(0xfff8)
                    .i32_and()
                    .local_set(ADDRESS);
                code.local_get(ADDRESS).local_get(OTHER).i64_store(place);
            }
            1 => {
                code.local_get(ADDRESS)
                    .i64_load(place)
                    .local_get(VALUE)
                    .i64_xor()
                    .local_set(OTHER);
            }
            2 => {
                code.local_get(VALUE)
                    .i64_const(dice.number())
                    .i64_lt_s()
                    .if_(BlockType::Empty);
                operation(code.local_get(OTHER).i64_const(dice.number()), dice).local_set(OTHER);
                code.else_();
                operation(code.local_get(OTHER).local_get(VALUE), dice).local_set(VALUE);
                code.end();
            }
            _ => {
                operation(code.local_get(VALUE).i64_const(dice.number()), dice).local_get(OTHER);
                operation(&mut code, dice).local_set(VALUE);
            }
        }
    }
    code.local_get(VALUE).end();
    function
}

fn operation<'a, 'b>(
    code: &'a mut InstructionSink<'b>,
    dice: &mut Dice,
) -> &'a mut InstructionSink<'b> {
    match dice.roll(6) {
        0 => code.i64_add(),
        1 => code.i64_sub(),
        2 => code.i64_mul(),
        3 => code.i64_xor(),
        4 => code.i64_rotl(),
        _ => code.i64_and(),
    }
}

/// Marsaglia's xorshift64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    fn number(&mut self) -> i64 {
        self.next().cast_signed() >> 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_valid_and_of_the_wanted_size() {
        for (size, bytes) in [
            (Size::Small, 1_000..4_000),
            (Size::Middle, 50_000..200_000),
            (Size::Large, 1_000_000..3_000_000),
        ] {
            let module = generated(size, 1);
            assert!(
                bytes.contains(&module.len()),
                "{} is {} bytes",
                size.name(),
                module.len()
            );
            wasmparser::validate(&module).unwrap();
        }
    }

    #[test]
    fn the_salt_alone_decides_the_bytes() {
        assert_eq!(generated(Size::Small, 7), generated(Size::Small, 7));
        assert_ne!(generated(Size::Small, 7), generated(Size::Small, 8));
    }
}
