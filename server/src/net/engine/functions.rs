//! Functions that all servers in front of one engine share.

use std::time::Duration;

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_runtime::Record;
use ferrite_upstream::{Account, SharedFunctions, UpstreamError};

use crate::functions::Functions;

use super::Engine;

/// Time after which the functions are looked at again if no change was announced.
pub(crate) const POLL: Duration = Duration::from_secs(5);

/// A version that the engine never has, after a change of this server's own.
const UNKNOWN_VERSION: u64 = u64::MAX;

/// Reason why functions could not be shared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShareError {
    /// The engine did not take or give them.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The source is not in the cache.
    #[error(
        "STORE the source of the function is not in the cache, so other servers could not run it; check wasm.cache"
    )]
    NoSource,
    /// This server's own list could not be changed.
    #[error("{0}")]
    Registry(String),
}

/// Takes over the functions in the engine, if they have changed since.
///
/// # Errors
///
/// The engine cannot be asked, or this server's list not be written.
pub(crate) async fn pull(
    engine: &Engine,
    account: &Account,
    functions: &Functions,
) -> Result<(), ShareError> {
    let shared = engine.upstream.shared_functions(account);
    let mut known = engine.functions_version.lock().await;
    let version = shared.version().await?;
    if *known == Some(version) {
        return Ok(());
    }
    if version == 0 {
        // Nothing was stored yet, or all keys were removed, as by `FLUSHALL`.
        if known.is_some() {
            for function in functions.functions() {
                put(&shared, functions, function.record()).await?;
            }
        }
        *known = Some(shared.version().await?);
        return Ok(());
    }
    let mut records = Vec::new();
    for json in shared.records().await? {
        match serde_json::from_slice::<Record>(&json) {
            Ok(record) => {
                fetch_source(&shared, functions, &record).await?;
                records.push(record);
            }
            Err(error) => {
                tracing::warn!(%error, "a record of a function in the engine cannot be read");
            }
        }
    }
    let wrong = functions
        .adopt_all(records)
        .map_err(|error| ShareError::Registry(error.to_string()))?;
    for error in wrong {
        tracing::warn!(%error, "a function in the engine cannot be used here");
    }
    *known = Some(version);
    Ok(())
}

/// Fetches the source of a function into the cache, if it is not there.
async fn fetch_source(
    shared: &SharedFunctions<'_>,
    functions: &Functions,
    record: &Record,
) -> Result<(), ShareError> {
    let Some(cache) = functions.cache() else {
        return Ok(());
    };
    if matches!(cache.source(&record.digest), Ok(Some(_))) {
        return Ok(());
    }
    let Some(source) = shared.source(&record.digest.to_string()).await? else {
        return Ok(());
    };
    if ferrite_cache::Digest::of(&source) != record.digest {
        tracing::warn!(function = %record.name, "the source of a function in the engine is another one");
        return Ok(());
    }
    if let Err(error) = cache.put_source(&source) {
        tracing::warn!(error = %ErrorChain(&error), "a function's source could not be kept");
    }
    functions.retry_now(record.name.as_bytes());
    Ok(())
}

/// Stores a function with its source.
async fn put(
    shared: &SharedFunctions<'_>,
    functions: &Functions,
    record: &Record,
) -> Result<(), ShareError> {
    let cache = functions.cache();
    let source = cache.and_then(|cache| cache.source(&record.digest).ok()?);
    let (Some(source), Ok(json)) = (source, serde_json::to_vec(record)) else {
        return Err(ShareError::NoSource);
    };
    let digest = record.digest.to_string();
    shared
        .put(record.name.as_str(), &json, &digest, &source)
        .await?;
    Ok(())
}

/// Stores in the engine what this server has under a name: the function, or its absence.
///
/// # Errors
///
/// The engine does not take it, and then this server returns to what the engine has.
pub(crate) async fn share(
    engine: &Engine,
    account: &Account,
    functions: &Functions,
    name: &[u8],
) -> Result<(), ShareError> {
    let shared = engine.upstream.shared_functions(account);
    let stored = match functions.function(name) {
        Ok(function) => put(&shared, functions, function.record()).await,
        Err(_) => {
            let removing = shared.remove(&String::from_utf8_lossy(name)).await;
            removing.map_err(ShareError::from)
        }
    };
    // What this server has is not what it took over.
    *engine.functions_version.lock().await = Some(UNKNOWN_VERSION);
    if stored.is_err() {
        let _ = pull(engine, account, functions).await;
    }
    stored
}
