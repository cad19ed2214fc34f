//! Hints that calls of the host are rare, by which their native code stands aside of the guest's.

use std::collections::BTreeSet;

use wasmparser::{KnownCustom, Operator, Parser, Payload};

use super::metered_bytes;
use super::modules::{KERNELS, kernel, random};

/// Offsets of all hinted branches in the module.
fn hinted(wasm: &[u8]) -> BTreeSet<usize> {
    let (mut hints, mut bodies, mut imported) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("it is valid") {
            Payload::ImportSection(section) => imported = section.count(),
            Payload::CustomSection(section) => {
                if let KnownCustom::BranchHints(functions) = section.as_known() {
                    for function in functions {
                        let function = function.expect("the section is well-formed");
                        for hint in function.hints {
                            let hint = hint.expect("the section is well-formed");
                            assert!(!hint.taken);
                            hints.push((function.func, hint.func_offset));
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                bodies.push(body.range().start);
            }
            _ => {}
        }
    }
    hints
        .into_iter()
        .map(|(function, at)| bodies[(function - imported) as usize] + at as usize)
        .collect()
}

/// Offsets of the branches to the calls of the host, but for those in functions that the pass adds.
fn looks(wasm: &[u8]) -> BTreeSet<usize> {
    let mut looks = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(Payload::CodeSectionEntry(body)) = payload else {
            continue;
        };
        let operators: Vec<_> = body
            .get_operators_reader()
            .expect("it is valid")
            .into_iter_with_offsets()
            .collect::<Result<_, _>>()
            .expect("it is valid");
        if let [
            (Operator::I32Const { value: 0 }, _),
            (Operator::CallIndirect { .. }, _),
            (Operator::End, _),
        ] = operators.as_slice()
        {
            break;
        }
        for window in operators.windows(4) {
            if let [
                (Operator::GlobalGet { .. }, _),
                (Operator::I64Const { value: 0 }, _),
                (Operator::I64LtS, _),
                (Operator::If { .. }, at),
            ] = window
            {
                looks.insert(*at);
            }
        }
    }
    looks
}

#[test]
fn each_call_of_the_host_is_said_to_be_rare() {
    let mut count = 0;
    let kernels = KERNELS.iter().map(|(_, body)| kernel(body));
    for wasm in kernels.chain((0..100).filter_map(random)) {
        let Ok(metered) = ferrite_compiler::meter::meter(&wasm) else {
            continue;
        };
        let looks = looks(&metered.wasm);
        assert_eq!(hinted(&metered.wasm), looks);
        count += looks.len();
    }
    assert!(count > 100, "{count}");
}

#[test]
fn hints_of_the_author_are_left_out() {
    let body = r#"(@custom "metadata.code.branch_hint" (before code) "\01\00\01\00\01\01")
        (func (export "run") (loop $next (br $next)))"#;
    let metered = metered_bytes(&kernel(body));
    assert_eq!(hinted(&metered).len(), 1);
    let mangled = body.replace(r"\01\00\01", r"\ff\ff\ff");
    assert_eq!(metered_bytes(&kernel(&mangled)), metered);
}
