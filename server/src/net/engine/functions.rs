//! Functions that all servers in front of one engine share.

use std::time::Duration;

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_runtime::Record;
use ferrite_upstream::{Account, Edition, NewFunction, SharedFunctions, UpstreamError};
use tokio::sync::MutexGuard;

use crate::functions::Functions;

use super::Engine;

/// Time after which the functions are looked at again if no change was announced.
pub(crate) const POLL: Duration = Duration::from_secs(5);

/// A version that the engine never has, so that the next look takes over all functions.
const UNKNOWN_VERSION: u64 = u64::MAX;

/// Number of times that one look begins anew, because all keys were removed meanwhile.
const LOOKS_MAX: usize = 5;

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

/// Takes over the functions in the engine, if they have changed since. Stores this server's functions there
/// if all keys were removed, as by `FLUSHALL`.
///
/// # Errors
///
/// The engine cannot be asked, or this server's list not be written.
pub(crate) async fn pull(
    engine: &Engine,
    account: &Account,
    functions: &Functions,
) -> Result<(), ShareError> {
    let mut known = engine.functions_edition.lock().await;
    look(engine, account, functions, &mut known).await
}

/// A change of this server's functions, which nothing that is taken over meanwhile undoes.
pub(crate) struct Change<'e> {
    engine: &'e Engine,
    account: &'e Account,
    functions: &'e Functions,
    known: MutexGuard<'e, Option<Edition>>,
}

impl<'e> Change<'e> {
    /// Takes over what others have changed, and holds up whatever else takes over or changes functions.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked, or this server's list not be written.
    pub(crate) async fn begin(
        engine: &'e Engine,
        account: &'e Account,
        functions: &'e Functions,
    ) -> Result<Self, ShareError> {
        let mut known = engine.functions_edition.lock().await;
        look(engine, account, functions, &mut known).await?;
        Ok(Self {
            engine,
            account,
            functions,
            known,
        })
    }

    /// Stores in the engine what this server has now under a name: the function, or its absence.
    ///
    /// # Errors
    ///
    /// The engine does not take it, and then this server returns to what the engine has.
    pub(crate) async fn share(mut self, name: &[u8]) -> Result<(), ShareError> {
        let shared = self.engine.upstream.shared_functions(self.account);
        let stored = match self.functions.function(name) {
            Ok(function) => put(&shared, self.functions, function.record()).await,
            Err(_) => {
                let removing = shared.remove(&String::from_utf8_lossy(name)).await;
                removing.map_err(ShareError::from)
            }
        };
        // Others may have changed more since the look. If all keys were removed since, the next look must
        // find that out, so the generation stays.
        match (&mut *self.known, &stored) {
            (Some(known), _) => known.version = UNKNOWN_VERSION,
            (none, Ok(edition)) => *none = Some(unread(edition.clone())),
            (None, Err(_)) => {}
        }
        if stored.is_err() {
            let Self {
                engine,
                account,
                functions,
                known,
            } = &mut self;
            let _ = look(engine, account, functions, known).await;
        }
        stored.map(|_| ())
    }
}

async fn look(
    engine: &Engine,
    account: &Account,
    functions: &Functions,
    known: &mut Option<Edition>,
) -> Result<(), ShareError> {
    let shared = engine.upstream.shared_functions(account);
    for _ in 0..LOOKS_MAX {
        let found = shared.edition().await?;
        if *known == found {
            return Ok(());
        }
        if known.is_some() && !same_generation(known.as_ref(), found.as_ref()) {
            match restore(&shared, functions).await {
                Ok(edition) => *known = Some(unread(edition)),
                // Others have restored what they could.
                Err(error) if found.is_some() => {
                    tracing::warn!(%error, "the functions of this server cannot be stored in the engine again");
                    *known = found;
                }
                Err(error) => return Err(error),
            }
        }
        let stored = shared.read().await?;
        let Some(edition) = stored.edition else {
            if known.is_none() {
                // Nothing was stored yet.
                return Ok(());
            }
            continue;
        };
        if known.is_some() && !same_generation(known.as_ref(), Some(&edition)) {
            continue;
        }
        adopt(&shared, functions, &stored.records).await?;
        *known = Some(edition);
        return Ok(());
    }
    Ok(())
}

fn same_generation(one: Option<&Edition>, other: Option<&Edition>) -> bool {
    one.map(|edition| &edition.generation) == other.map(|edition| &edition.generation)
}

/// Returns the edition as one whose functions were not taken over.
fn unread(edition: Edition) -> Edition {
    Edition {
        version: UNKNOWN_VERSION,
        ..edition
    }
}

/// Makes the functions of these records, and no others, this server's own.
async fn adopt(
    shared: &SharedFunctions<'_>,
    functions: &Functions,
    stored: &[Vec<u8>],
) -> Result<(), ShareError> {
    let mut records = Vec::new();
    for json in stored {
        match serde_json::from_slice::<Record>(json) {
            Ok(record) => {
                fetch_source(shared, functions, &record).await?;
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

/// A function as it is stored in the engine.
struct Stored {
    json: Vec<u8>,
    digest: String,
    source: Vec<u8>,
}

impl Stored {
    fn of(functions: &Functions, record: &Record) -> Result<Self, ShareError> {
        let cache = functions.cache();
        let source = cache.and_then(|cache| cache.source(&record.digest).ok()?);
        let (Some(source), Ok(json)) = (source, serde_json::to_vec(record)) else {
            return Err(ShareError::NoSource);
        };
        Ok(Self {
            json,
            digest: record.digest.to_string(),
            source,
        })
    }

    fn named<'a>(&'a self, name: &'a str) -> NewFunction<'a> {
        NewFunction {
            name,
            record: &self.json,
            digest: &self.digest,
            source: &self.source,
        }
    }
}

/// Stores all functions of this server again, after all keys of the engine were removed.
async fn restore(
    shared: &SharedFunctions<'_>,
    functions: &Functions,
) -> Result<Edition, ShareError> {
    let functions_here = functions.functions();
    let mut stored = Vec::new();
    for function in &functions_here {
        let record = function.record();
        match Stored::of(functions, record) {
            Ok(function) => stored.push((record.name.as_str(), function)),
            Err(error) => tracing::warn!(function = %record.name, %error),
        }
    }
    let all: Vec<_> = stored
        .iter()
        .map(|(name, function)| function.named(name))
        .collect();
    Ok(shared.restore(&all).await?)
}

/// Stores a function with its source.
async fn put(
    shared: &SharedFunctions<'_>,
    functions: &Functions,
    record: &Record,
) -> Result<Edition, ShareError> {
    let stored = Stored::of(functions, record)?;
    Ok(shared.put(stored.named(record.name.as_str())).await?)
}
