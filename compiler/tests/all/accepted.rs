//! Sources that are accepted, and what is found in them.

use std::fmt::Write;

use ferrite_cache::{Digest, ExportKind, ModuleInfo, Profile, Rewind, RewindPlan};
use ferrite_compiler::{Compiler, SourceLimits};

#[test]
fn every_good_source_is_described_and_compiled() {
    let compiler =
        Compiler::new(&Profile::native(), SourceLimits::default()).expect("this machine");
    crate::golden::check_folder("accepted", |source| {
        let compiled = match compiler.compile(source) {
            Ok(compiled) => compiled,
            Err(error) => return format!("refused: {error}\n"),
        };
        let manifest = &compiled.manifest;
        assert_eq!(manifest.source, Digest::of(&compiled.wasm));
        assert_eq!(manifest.source_len, compiled.wasm.len() as u64);
        assert_eq!(manifest.artifact, Digest::of(&compiled.artifact));
        assert_eq!(manifest.artifact_len, compiled.artifact.len() as u64);
        assert_eq!(manifest.profile, Profile::native());
        assert!(compiled.artifact.starts_with(b"\x7fELF"));
        describe(&manifest.module)
    });
}

fn describe(info: &ModuleInfo) -> String {
    let ModuleInfo {
        name,
        imports,
        exports,
        entries,
        memory,
        table_elements_min,
        functions,
        code_len,
        initialize,
        start,
        rewind,
        meter: _,
        stack_depth,
        automation,
        limits,
    } = info;
    assert!(stack_depth.is_none(), "nobody asked to count");
    assert!(automation.is_empty(), "none of them declares anything");
    assert!(limits.is_none(), "none of them asks for limits");
    let mut text = format!(
        "name {name:?}, {functions} functions in {code_len} bytes, {table_elements_min} table \
         elements, initialize {initialize}, start {start}\n"
    );
    match rewind {
        Rewind::Allowed(plan) => {
            let RewindPlan {
                globals,
                start,
                offsets,
            } = plan;
            let _ = writeln!(
                text,
                "rewind {globals} globals, start {start}, {} shifts",
                offsets.len()
            );
        }
        Rewind::Refused { reason } => {
            let _ = writeln!(text, "rewind refused: {reason}");
        }
    }
    if let Some(memory) = memory {
        let _ = writeln!(text, "memory {} {:?}", memory.min_pages, memory.max_pages);
    }
    for import in imports {
        let _ = writeln!(
            text,
            "import {}.{} {}",
            import.module, import.name, import.signature
        );
    }
    for export in exports {
        let kind = match &export.kind {
            ExportKind::Function(signature) => signature.to_string(),
            ExportKind::Memory => "memory".to_owned(),
            ExportKind::Table => "table".to_owned(),
            ExportKind::Global => "global".to_owned(),
        };
        let _ = writeln!(text, "export {} {kind}", export.name);
    }
    for entry in entries {
        let _ = writeln!(
            text,
            "entry {} {} {}",
            entry.kind, entry.name, entry.signature
        );
    }
    text
}
