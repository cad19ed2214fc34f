//! Each bound holds: a source at the bound is accepted, one past it is refused by its name.

use ferrite_compiler::{CompileError, Compiler, SourceLimits, ValidateError, to_wasm, validate};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection,
    MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};

/// Number of each kind of item in a module of these tests, beyond one entry `run`.
#[derive(Clone, Copy, Default)]
struct Shape {
    types: u32,
    params: u32,
    imports: u32,
    exports: u32,
    functions: u32,
    body_nops: u32,
    locals: u32,
    nesting: u32,
    targets: u32,
    tables: u32,
    elements: u64,
    globals: u32,
    segments: u32,
    items: u32,
    data: u32,
}

fn build(shape: Shape) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    for _ in 0..shape.types {
        types.ty().function([ValType::I32], []);
    }
    if shape.params > 0 {
        types
            .ty()
            .function(vec![ValType::I32; shape.params as usize], []);
    }
    let mut imports = ImportSection::new();
    for _ in 0..shape.imports {
        imports.import("ferrite", "reply_null", EntityType::Function(0));
    }
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for _ in 0..=shape.functions {
        functions.function(0);
    }
    code.function(&body(shape));
    for _ in 0..shape.functions {
        let mut body = Function::new([]);
        body.instructions().end();
        code.function(&body);
    }
    let mut tables = TableSection::new();
    for _ in 0..shape.tables {
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            minimum: shape.elements,
            maximum: None,
            table64: false,
            shared: false,
        });
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    for _ in 0..shape.globals {
        let ty = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &ConstExpr::i32_const(0));
    }
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, shape.imports);
    for index in 0..shape.exports {
        exports.export(&format!("run{index}"), ExportKind::Func, shape.imports);
    }
    let mut elements = ElementSection::new();
    for _ in 0..shape.segments {
        let items = vec![0; shape.items as usize];
        elements.passive(Elements::Functions(items.into()));
    }
    let mut data = DataSection::new();
    for _ in 0..shape.data {
        data.passive([0]);
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&tables)
        .section(&memories)
        .section(&globals)
        .section(&exports)
        .section(&elements)
        .section(&code)
        .section(&data);
    module.finish()
}

fn body(shape: Shape) -> Function {
    let mut body = Function::new([(shape.locals, ValType::I64)]);
    let mut code = body.instructions();
    for _ in 0..shape.body_nops {
        code.nop();
    }
    for _ in 0..shape.nesting {
        code.block(wasm_encoder::BlockType::Empty);
    }
    for _ in 0..shape.nesting {
        code.end();
    }
    if shape.targets > 0 {
        code.i32_const(0)
            .br_table(vec![0; shape.targets as usize], 0);
    }
    code.end();
    body
}

fn check(bound: &str, bounds: &SourceLimits, within: Shape, beyond: Shape) {
    if let Err(error) = validate(&build(within), bounds) {
        panic!("{bound}: a module within it was refused: {error}");
    }
    match validate(&build(beyond), bounds) {
        Err(ValidateError::LimitExceeded { bound: found, .. }) => assert_eq!(found, bound),
        Err(error) => panic!("{bound}: {error}"),
        Ok(_) => panic!("{bound}: a module beyond it was accepted"),
    }
}

#[test]
fn every_bound_holds_at_its_edge() {
    let bounds = SourceLimits {
        source_bytes_max: 1 << 20,
        text_bytes_max: 1 << 20,
        types_max: 7,
        type_params_max: 5,
        imports_max: 3,
        exports_max: 4,
        names_bytes_max: 1 << 10,
        functions_max: 6,
        function_body_bytes_max: 100,
        function_locals_max: 9,
        function_nesting_max: 8,
        br_table_targets_max: 10,
        tables_max: 2,
        table_elements_max: 20,
        globals_max: 3,
        element_segments_max: 2,
        element_items_max: 12,
        data_segments_max: 5,
    };
    let none = Shape::default();
    let cases: [(&str, Shape, Shape); 15] = [
        (
            "types_max",
            Shape { types: 6, ..none },
            Shape { types: 7, ..none },
        ),
        (
            "type_params_max",
            Shape { params: 5, ..none },
            Shape { params: 6, ..none },
        ),
        (
            "imports_max",
            Shape { imports: 3, ..none },
            Shape { imports: 4, ..none },
        ),
        (
            "exports_max",
            Shape { exports: 3, ..none },
            Shape { exports: 4, ..none },
        ),
        (
            "functions_max",
            Shape {
                functions: 5,
                ..none
            },
            Shape {
                functions: 6,
                ..none
            },
        ),
        // One byte for the number of local declarations, three for ours, one for `end`.
        (
            "function_body_bytes_max",
            Shape {
                body_nops: 96,
                ..none
            },
            Shape {
                body_nops: 97,
                ..none
            },
        ),
        (
            "function_locals_max",
            Shape { locals: 9, ..none },
            Shape { locals: 10, ..none },
        ),
        (
            "function_nesting_max",
            Shape { nesting: 8, ..none },
            Shape { nesting: 9, ..none },
        ),
        (
            "br_table_targets_max",
            Shape {
                targets: 10,
                ..none
            },
            Shape {
                targets: 11,
                ..none
            },
        ),
        (
            "tables_max",
            Shape { tables: 2, ..none },
            Shape { tables: 3, ..none },
        ),
        (
            "table_elements_max",
            Shape {
                tables: 2,
                elements: 10,
                ..none
            },
            Shape {
                tables: 2,
                elements: 11,
                ..none
            },
        ),
        (
            "globals_max",
            Shape { globals: 3, ..none },
            Shape { globals: 4, ..none },
        ),
        (
            "element_segments_max",
            Shape {
                segments: 2,
                ..none
            },
            Shape {
                segments: 3,
                ..none
            },
        ),
        (
            "element_items_max",
            Shape {
                segments: 2,
                items: 6,
                ..none
            },
            Shape {
                segments: 2,
                items: 7,
                ..none
            },
        ),
        (
            "data_segments_max",
            Shape { data: 5, ..none },
            Shape { data: 6, ..none },
        ),
    ];
    for (bound, within, beyond) in cases {
        check(bound, &bounds, within, beyond);
    }
}

#[test]
fn names_are_bounded_together() {
    let shape = Shape {
        imports: 10,
        exports: 10,
        ..Shape::default()
    };
    let wasm = build(shape);
    let refused = |names_bytes_max| {
        let bounds = SourceLimits {
            names_bytes_max,
            ..SourceLimits::default()
        };
        match validate(&wasm, &bounds) {
            Ok(_) => None,
            Err(ValidateError::LimitExceeded { bound, what, .. }) => {
                assert_eq!(bound, "names_bytes_max");
                Some(what)
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(refused(100), Some("bytes of imports"));
    assert_eq!(refused(220), Some("bytes of imports and exports"));
    assert_eq!(refused(1_000), None);
}

#[test]
fn a_source_of_100_megabytes_is_refused_before_it_is_read() {
    let compiler = Compiler::new(&ferrite_cache::Profile::native(), SourceLimits::default())
        .expect("this machine");
    let mut source = vec![0; 100_000_000];
    source[..8].copy_from_slice(b"\0asm\x01\0\0\0");
    let error = compiler.compile(&source).expect_err("too large");
    assert_eq!(error.code(), "LIMIT");
    assert_eq!(
        error.to_string(),
        "bytes of the module: 100000000, where at most 67108864 are allowed \
         (`source_bytes_max`, at offset 0x0)"
    );
    source.fill(b' ');
    source[..8].copy_from_slice(b"(module)");
    let error = compiler.compile(&source).expect_err("too large");
    assert_eq!(error.code(), "LIMIT");
    assert!(matches!(error, CompileError::Text(_)), "{error}");
}

#[test]
fn text_is_bounded_by_itself() {
    let bounds = SourceLimits {
        text_bytes_max: 8,
        ..SourceLimits::default()
    };
    assert!(to_wasm(b"(module)", &bounds).is_ok());
    assert!(to_wasm(b"(module )", &bounds).is_err());
}

/// A function as deep as the bounds allow does not overflow the stack of the compiler.
#[test]
fn the_deepest_function_compiles() {
    let compiler = Compiler::new(&ferrite_cache::Profile::native(), SourceLimits::default())
        .expect("this machine");
    let bounds = SourceLimits::default();
    let source = build(Shape {
        nesting: bounds.function_nesting_max,
        targets: bounds.br_table_targets_max,
        locals: bounds.function_locals_max,
        ..Shape::default()
    });
    compiler.compile(&source).expect(crate::VALID);
}

/// Exports whose description is longer than any manifest may be are refused, not truncated.
#[test]
fn what_does_not_fit_a_manifest_is_refused() {
    let mut types = TypeSection::new();
    types.ty().function(vec![ValType::I32; 250], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut code = CodeSection::new();
    let mut body = Function::new([]);
    body.instructions().end();
    code.function(&body);
    let mut exports = ExportSection::new();
    for index in 0..3_000 {
        exports.export(&format!("f{index}"), ExportKind::Func, 0);
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&exports)
        .section(&code);
    let compiler = Compiler::new(&ferrite_cache::Profile::native(), SourceLimits::default())
        .expect("this machine");
    let error = compiler.compile(&module.finish()).expect_err("too much");
    assert_eq!(error.code(), "LIMIT", "{error}");
}
