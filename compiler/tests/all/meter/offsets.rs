//! Offsets of metered code in the source, which errors name.

use std::collections::BTreeSet;

use ferrite_cache::CodeOffsetMap;
use ferrite_compiler::meter::meter;
use wasmparser::{Operator, Parser, Payload};

use super::modules::{KERNELS, kernel, random};

/// Instructions of all functions, each with its offset.
fn instructions(wasm: &[u8]) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(Payload::CodeSectionEntry(body)) = payload else {
            continue;
        };
        let mut operators = body.get_operators_reader().expect("it is valid");
        while !operators.eof() {
            let (operator, at) = operators.read_with_offset().expect("it is valid");
            found.push((at as u64, shown(&operator)));
        }
    }
    found
}

/// Text of an instruction; calls of any function are the same, because metering puts its own in the
/// place of instructions over ranges.
fn shown(operator: &Operator<'_>) -> String {
    match operator {
        Operator::MemoryFill { .. }
        | Operator::MemoryCopy { .. }
        | Operator::MemoryInit { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. }
        | Operator::TableGrow { .. }
        | Operator::MemoryGrow { .. }
        | Operator::Call { .. } => "call".into(),
        operator => format!("{operator:?}"),
    }
}

/// Asserts that each instruction of the source is found in the metered code through the map.
fn is_found(what: &str, wasm: &[u8]) {
    let Ok(metered) = meter(wasm) else { return };
    let moves: &CodeOffsetMap = &metered.plan.moves;
    let found: Vec<_> = instructions(&metered.wasm)
        .into_iter()
        .map(|(at, operator)| (moves.original_offset(at), operator))
        .collect();
    // Added code has the offset of what follows it, so a trap that is reported there is named there.
    assert!(found.is_sorted_by_key(|(at, _)| *at), "{what}");
    let found: BTreeSet<_> = found.into_iter().collect();
    for (at, operator) in instructions(wasm) {
        assert!(
            found.contains(&(at, operator.clone())),
            "{what}: no {operator} is mapped to {at:#x}"
        );
    }
}

#[test]
fn errors_name_offsets_in_the_source() {
    is_found("an empty function", &kernel("(func)"));
    is_found(
        "two short functions",
        &kernel(r#"(func (loop (br 0))) (func (export "run") unreachable)"#),
    );
    for (what, body) in KERNELS {
        is_found(what, &kernel(body));
    }
    for number in 0..200 {
        if let Some(wasm) = random(number) {
            is_found(&format!("module {number}"), &wasm);
        }
    }
}
