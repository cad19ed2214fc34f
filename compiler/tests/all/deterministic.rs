//! The same source under the same profile gives the same bytes.

use std::fmt::Write;

use ferrite_cache::{Baseline, Profile, Target};
use ferrite_compiler::{Compiler, SourceLimits};

/// Enough functions that several threads compile them, in whatever order they come to.
fn many_functions() -> Vec<u8> {
    let mut text = String::from("(module (memory (export \"memory\") 1) (table 64 funcref)\n");
    for index in 0..64 {
        let _ = write!(
            text,
            "(func $f{index} (export \"f{index}\") (param i32 f64) (result f64)
               (local i32)
               (loop $again
                 (local.set 2 (i32.add (local.get 2) (i32.const {index})))
                 (i32.store (i32.and (local.get 2) (i32.const 0xfffc)) (local.get 0))
                 (br_if $again (i32.lt_u (local.get 2) (local.get 0))))
               (f64.mul (local.get 1) (f64.const {index}.5)))"
        );
    }
    text.push(')');
    wat::parse_str(&text).expect(crate::VALID)
}

fn profiles() -> Vec<Profile> {
    let portable = Target::ALL.into_iter().flat_map(|target| {
        target
            .baselines()
            .iter()
            .filter_map(move |&baseline| Profile::new(target, baseline).ok())
    });
    portable.chain([Profile::native()]).collect()
}

#[test]
fn two_engines_give_the_same_bytes_for_every_profile() {
    let source = many_functions();
    for profile in profiles() {
        let compile = || {
            Compiler::new(&profile, SourceLimits::default())
                .and_then(|compiler| compiler.compile(&source))
                .expect(crate::VALID)
        };
        let (first, second) = (compile(), compile());
        assert!(first.artifact == second.artifact, "{profile}");
        assert_eq!(first.manifest.source, second.manifest.source);
    }
}

#[test]
fn profiles_give_different_bytes() {
    let source = many_functions();
    let artifact = |baseline| {
        let profile = Profile::new(Target::X86_64Linux, baseline).expect("a pair that exists");
        Compiler::new(&profile, SourceLimits::default())
            .and_then(|compiler| compiler.compile(&source))
            .expect(crate::VALID)
            .artifact
    };
    assert!(artifact(Baseline::V2) != artifact(Baseline::V3));
}

/// This process and another, which has its own addresses, hash seeds and threads.
#[test]
fn two_processes_give_the_same_bytes() {
    let source = many_functions();
    let compiled = Compiler::new(&Profile::native(), SourceLimits::default())
        .and_then(|compiler| compiler.compile(&source))
        .expect(crate::VALID);
    for _ in 0..2 {
        let answer = crate::worker::in_a_process(&Profile::native(), &source);
        let ferrite_cache::worker_protocol::CompileResponse::Compiled { artifact, .. } = answer
        else {
            panic!("{answer:?}");
        };
        assert!(artifact == compiled.artifact);
    }
}

/// Text and the module it stands for have the same identity and code.
#[test]
fn text_is_compiled_as_the_module_that_it_stands_for() {
    let text = "(module (func (export \"run\")))";
    let compiler =
        Compiler::new(&Profile::native(), SourceLimits::default()).expect("this machine");
    let from_text = compiler.compile(text.as_bytes()).expect(crate::VALID);
    let wasm = wat::parse_str(text).expect(crate::VALID);
    let from_wasm = compiler.compile(&wasm).expect(crate::VALID);
    assert_eq!(from_text.wasm, wasm);
    assert!(from_text.artifact == from_wasm.artifact);
}
