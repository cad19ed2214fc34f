//! Translates the configuration into the runtime's options.

pub(crate) mod network;
pub(crate) mod trust;

use ferrite_runtime::artifact::compile_worker::WorkerOptions;
use ferrite_runtime::artifact::source::SourceOptions;
use ferrite_runtime::instance::engine::EngineOptions;
use ferrite_runtime::policy::limits::{LimitSettings, Limits, LimitsError};
use ferrite_runtime::scheduling::pool::PoolOptions;
use ferrite_runtime::service::background_calls::BackgroundOptions;
use ferrite_runtime::{RuntimeOptions, ServerLimits};

use crate::config::{Config, WasmBackground, WasmLimits, WasmLimitsMax, WasmPool};

/// Returns the runtime's options, with every path resolved against `server.dir`.
///
/// # Errors
///
/// If a limit cannot be enforced.
pub(crate) fn options(config: &Config) -> Result<RuntimeOptions, LimitsError> {
    let ServerLimits { defaults, most } = server_limits(config)?;
    let wasm = &config.wasm;
    let options = RuntimeOptions {
        engine: EngineOptions {
            instances_max: u32::try_from(config.pool.total_instances).unwrap_or(u32::MAX),
            verify_rewinding: false,
            ..EngineOptions::default()
        },
        permissions: config.security.default_permissions.clone(),
        isolation: wasm.isolation,
        pool: pool(&config.pool),
        source: SourceOptions {
            module_dir: Some(config.below_dir(&wasm.module_dir)),
            source_bytes_max: wasm.max_source.0,
        },
        worker: WorkerOptions {
            program: wasm.compiler.as_ref().map(|path| config.below_dir(path)),
            time_max: wasm.compile_timeout.0,
            artifact_bytes_max: wasm.max_artifact.0,
            source_bytes_max: wasm.max_source.0,
        },
        functions_max: wasm.max_functions,
        background: background(&config.background),
        directories: config
            .security
            .allow_filesystem
            .0
            .iter()
            .map(|directory| directory.below(&config.below_dir("".as_ref())))
            .collect(),
        registry: wasm.registry.as_ref().map(|path| config.below_dir(path)),
        ..RuntimeOptions::default()
    };
    Ok(options.with_limits(defaults, most))
}

/// Returns the limits of functions.
///
/// # Errors
///
/// If a limit cannot be enforced, or a default is higher than the most.
pub(crate) fn server_limits(config: &Config) -> Result<ServerLimits, LimitsError> {
    let defaults = limits(&config.limits)?;
    let most = limits_max(&defaults, &config.limits_max)?;
    Ok(ServerLimits { defaults, most })
}

/// Returns the most that a function may ask for, where `limits` are the defaults.
fn limits_max(limits: &Limits, most: &WasmLimitsMax) -> Result<Limits, LimitsError> {
    let WasmLimitsMax {
        max_memory,
        max_time,
        max_fuel,
        max_stack_depth,
        max_reply,
        max_writes,
        max_table_elements,
        max_log,
    } = *most;
    limits.most(&LimitSettings {
        max_memory,
        max_time,
        max_fuel,
        max_stack: None,
        max_stack_depth,
        max_reply,
        max_writes,
        max_table_elements,
        max_log,
    })
}

/// Returns the limits of a call, if all can be enforced.
fn limits(limits: &WasmLimits) -> Result<Limits, LimitsError> {
    let WasmLimits {
        max_memory,
        max_time,
        max_fuel,
        max_stack,
        max_stack_depth,
        max_reply,
        max_writes,
        max_table_elements,
        max_log,
    } = *limits;
    Limits::DEFAULT.for_server(&LimitSettings {
        max_memory: Some(max_memory),
        max_time: Some(max_time),
        max_fuel: Some(max_fuel),
        max_stack: Some(max_stack),
        max_stack_depth,
        max_reply: Some(max_reply),
        max_writes: Some(max_writes),
        max_table_elements: Some(max_table_elements),
        max_log: Some(max_log),
    })
}

fn pool(pool: &WasmPool) -> PoolOptions {
    let WasmPool {
        min_instances,
        max_instances,
        max_waiting,
        idle_timeout,
        total_instances: _,   // The engine's, not one function's.
        share_among_users: _, // A matter of the callers.
    } = *pool;
    PoolOptions {
        instances_min: min_instances.min(max_instances),
        instances_max: max_instances,
        waiting_max: max_waiting,
        idle_timeout: idle_timeout.0,
    }
}

fn background(background: &WasmBackground) -> BackgroundOptions {
    let WasmBackground {
        max_pending,
        max_results,
        max_memory,
        keep_results,
    } = *background;
    BackgroundOptions {
        pending_max: max_pending,
        results_max: max_results,
        bytes_max: saturate(max_memory.0),
        keep_for: keep_results.0,
    }
}

fn saturate(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use ferrite_runtime::RuntimeOptions;
    use ferrite_runtime::artifact::compile_worker::WorkerOptions;
    use ferrite_runtime::policy::limits::Limits;
    use ferrite_runtime::scheduling::pool::PoolOptions;
    use ferrite_runtime::service::background_calls::BackgroundOptions;

    use super::{Config, options};

    /// The configuration's defaults are the runtime's, so that the server and an embedded runtime
    /// behave alike.
    #[test]
    fn the_defaults_are_the_runtimes() {
        let options = options(&Config::default()).expect("the defaults are right");
        assert_eq!(options.limits, Limits::DEFAULT);
        assert_eq!(options.limits_max, Limits::GENEROUS);
        assert_eq!(options.pool, PoolOptions::default());
        assert_eq!(options.background, BackgroundOptions::default());
        let own = RuntimeOptions::default();
        assert_eq!(options.permissions, own.permissions);
        assert_eq!(options.isolation, own.isolation);
        assert_eq!(options.functions_max, own.functions_max);
        assert_eq!(options.source.source_bytes_max, own.source.source_bytes_max);
        assert_eq!(options.engine.instances_max, own.engine.instances_max);
        let worker = WorkerOptions::default();
        assert_eq!(options.worker.time_max, worker.time_max);
        assert_eq!(options.worker.artifact_bytes_max, worker.artifact_bytes_max);
    }

    #[test]
    fn what_cannot_be_enforced_is_refused() {
        for text in [
            "[wasm.limits]\nmax_stack_depth = 0",
            "[wasm.limits]\nmax_stack = \"1MB\"",
            "[wasm.limits]\nmax_fuel = 0",
            "[wasm.limits.max]\nmax_time = \"1s\"",
            "[wasm.security]\nallow_filesystem = true",
            "[wasm.security]\nallow_filesystem = [\"a=/x\", \"a=/y\"]",
            "[wasm.pool]\nmax_instances = 0",
        ] {
            let parsed = Config::parse("ferrite.toml".as_ref(), text);
            assert!(parsed.is_err(), "{text}");
        }
    }
}
