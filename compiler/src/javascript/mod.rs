//! Makes a module of a program in JavaScript.
//!
//! The program runs on an interpreter, QuickJS-ng, which is a module itself: `compiler/javascript/engine.c`
//! compiled by `cargo xtask engine`. To make a module of a program is to start that engine, to run the program's
//! top level on it, as [`preinit`](crate::preinit) runs a start, to keep the memory that this leaves, and to add
//! one command entry for each function that the program exports. No compiler of JavaScript is involved,
//! and the result is a module like any other.

mod engine;
mod entries;

use ferrite_cache::javascript::{
    EVALUATION_FUEL_MAX, EVALUATION_MEMORY_BYTES_MAX, EngineInstance, Exports,
    JAVASCRIPT_ENGINE_DIGEST, JAVASCRIPT_LIMITS, JAVASCRIPT_START_EXPORT, ProgramError,
};
use ferrite_cache::{AUTOMATION_SECTION, Digest, JavaScript, LIMITS_SECTION, engine_base, patches};
use ferrite_wasm_abi::INITIALIZE_EXPORT;
use wasm_encoder::{CustomSection, Section as _};
use wasmtime_wizer::Wizer;

use crate::preinit::RandomBytes;
use crate::preinit::start::{StartLimits, Started};

/// Limits of the top level of a program.
const LIMITS: StartLimits = StartLimits {
    fuel_max: EVALUATION_FUEL_MAX,
    memory_bytes_max: EVALUATION_MEMORY_BYTES_MAX,
};

/// Makes a module of an encoded program, or of the engine that has evaluated none.
pub(crate) fn to_module(encoded: &[u8]) -> Result<Vec<u8>, ProgramError> {
    let program = JavaScript::decode(encoded)?;
    program.check()?;
    let broken = |reason| ProgramError::Engine { reason };
    let is_engine = JavaScript::is_engine(encoded);
    if is_engine && program.name != JAVASCRIPT_ENGINE_DIGEST {
        return Err(broken(format!(
            "{} is that of another release; this one has {JAVASCRIPT_ENGINE_DIGEST}",
            program.name
        )));
    }
    let engine = engine::wasm().map_err(broken)?;
    let mut wizer = Wizer::new();
    wizer.init_func(INITIALIZE_EXPORT);
    let (context, instrumented) = wizer
        .instrument(&engine)
        .map_err(|error| broken(format!("{error:#}")))?;
    let mut started = Started::new(
        &instrumented,
        RandomBytes::Refused,
        Digest::of(encoded),
        LIMITS,
    )
    .map_err(broken)?;
    match started.call(JAVASCRIPT_START_EXPORT, &[]).map_err(broken)? {
        1 => {}
        _ => return Err(broken("it does not start".to_owned())),
    }
    let base = patches::between(&[], started.exported_memory());
    let Exports { names, automation } = if is_engine {
        Exports::default()
    } else {
        program.evaluate(&mut started)?
    };
    let snapshot = pollster::block_on(wizer.snapshot(&context, &mut started.state()))
        .map_err(|error| broken(format!("{error:#}")))?;
    let mut module = entries::add(&snapshot, &names).map_err(|error| broken(error.to_string()))?;
    let mut append = |name: &str, data: &[u8]| {
        let section = CustomSection {
            name: name.into(),
            data: data.into(),
        };
        section.append_to(&mut module);
    };
    append(engine_base::BASE_SECTION, &base);
    append(LIMITS_SECTION, JAVASCRIPT_LIMITS.as_bytes());
    if !automation.is_empty() {
        append(AUTOMATION_SECTION, automation.as_bytes());
    }
    Ok(module)
}

impl EngineInstance for Started {
    fn call(&mut self, export: &str, arguments: &[u32]) -> Result<u32, String> {
        self.call_with_addresses(export, arguments)
    }

    fn memory(&mut self) -> &mut [u8] {
        self.exported_memory()
    }
}

#[cfg(test)]
mod tests {
    use ferrite_cache::Digest;
    use ferrite_cache::javascript::JAVASCRIPT_ENGINE_DIGEST;

    #[test]
    fn the_engine_is_the_one_that_hosts_know() {
        let wasm = super::engine::wasm().expect("it is whole");
        assert_eq!(
            Digest::of(&wasm).to_string(),
            JAVASCRIPT_ENGINE_DIGEST,
            "name the engine of `cargo xtask engine` in the cache"
        );
    }
}
