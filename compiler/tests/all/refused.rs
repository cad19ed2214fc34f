//! Sources that are refused, and what is said of them.

use ferrite_cache::Profile;
use ferrite_compiler::{Compiler, SourceLimits, ValidateError};

#[test]
fn every_bad_source_gets_its_message() {
    let compiler =
        Compiler::new(&Profile::native(), SourceLimits::default()).expect("this machine");
    crate::golden::check_folder("refused", |source| match compiler.compile(source) {
        Ok(_) => "accepted\n".to_owned(),
        Err(error) => match error.offset() {
            Some(offset) => format!("{} {offset:#x}\n{error}\n", error.code()),
            None => format!("{}\n{error}\n", error.code()),
        },
    });
}

#[test]
fn every_bad_import_is_reported_at_once() {
    let source = wat::parse_str(
        r#"(module
            (import "ferrite" "gett" (func))
            (import "ferrite" "key_count" (func (result i32)))
            (import "env" "memory" (memory 1))
            (import "ferrite" "get" (func)))"#,
    )
    .expect(crate::VALID);
    let problems: Vec<String> = ferrite_compiler::problems(&source, &SourceLimits::default())
        .iter()
        .map(ToString::to_string)
        .collect();
    let begin = [
        "unknown import `ferrite.gett`",
        "import `env.memory` is a memory",
        "import `ferrite.get` has the signature () -> ()",
        "no entry",
    ];
    assert_eq!(problems.len(), begin.len(), "{problems:#?}");
    for (problem, begin) in problems.iter().zip(begin) {
        assert!(problem.starts_with(begin), "{problem}");
    }
}

/// A prefix of a module is accepted only where it is a module itself, between two sections.
#[test]
fn every_truncation_is_refused() {
    let bounds = SourceLimits::default();
    let whole = wat::parse_str(include_str!("../accepted/every-proposal-that-is-on.wat"))
        .expect(crate::VALID);
    let mut cut_off = 0;
    for length in 0..whole.len() {
        match ferrite_compiler::validate(&whole[..length], &bounds) {
            Ok(_) => assert!(wasmparser::validate(&whole[..length]).is_ok(), "{length}"),
            Err(ValidateError::Truncated { bytes }) => {
                assert_eq!(bytes, length as u64);
                cut_off += 1;
            }
            Err(_) => {}
        }
    }
    // At the end of a section the module is whole, and lacks what would have followed.
    assert!(cut_off > whole.len() / 2, "{cut_off} of {}", whole.len());
}

/// Changed bytes are refused or compiled; none of them makes the compiler panic.
#[test]
fn no_changed_byte_panics() {
    let whole = wat::parse_str(include_str!("../accepted/tinygo-like.wat")).expect(crate::VALID);
    for at in 0..whole.len() {
        for change in [0x01, 0x40, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= change;
            let _ = ferrite_compiler::validate(&changed, &SourceLimits::default());
        }
    }
}
