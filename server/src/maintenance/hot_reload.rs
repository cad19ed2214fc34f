//! Reloads functions whose files in `module_dir` change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::functions::Functions;
use crate::state::Host;

/// How often files are looked at. Looking is one system call a file, and works on every file
/// system, which notifications do not.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Watches until it is dropped.
pub(crate) async fn run(host: Arc<Host>) {
    let mut watch = Watch::default();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let host = Arc::clone(&host);
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = &host.functions {
                watch.look(runtime);
            }
            watch
        });
        match looked.await {
            Ok(back) => watch = back,
            Err(error) => {
                tracing::error!(%error, "watching files ended by a panic, which is a bug");
                return;
            }
        }
    }
}

/// What a file looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    bytes: u64,
}

/// What is known of a function's file.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// What the file looked like when it was loaded, or first seen.
    loaded: Look,
    /// What it looked like last time.
    last: Look,
}

/// What files looked like.
#[derive(Debug, Default)]
struct Watch {
    known: HashMap<PathBuf, Known>,
}

impl Watch {
    /// Reloads the functions whose files have changed, and are not changing any more.
    fn look(&mut self, runtime: &Functions) {
        let Some(dir) = runtime.options().source.module_dir.clone() else {
            return;
        };
        for function in runtime.functions() {
            let name = function.record().name.as_str();
            let Some(file) = function.record().file.as_deref() else {
                continue;
            };
            let path = dir.join(file);
            let Some(look) = look_at(&path) else {
                continue;
            };
            let known = self.known.entry(path.clone()).or_insert_with(|| {
                tracing::info!(function = name, file = %path.display(), "watching");
                Known {
                    loaded: look,
                    last: look,
                }
            });
            let settled = known.last == look;
            known.last = look;
            if look == known.loaded || !settled {
                continue;
            }
            // Whatever comes of it, the same file is not tried again.
            known.loaded = look;
            match runtime.reload_file(name.as_bytes()) {
                Ok(Some(digest)) => {
                    tracing::info!(function = name, %digest, file = %path.display(), "reloaded");
                }
                Ok(None) => tracing::debug!(function = name, file = %path.display(), "as it was"),
                Err(error) => {
                    tracing::warn!(function = name, file = %path.display(), %error, "not reloaded");
                }
            }
        }
    }
}

fn look_at(path: &Path) -> Option<Look> {
    // Whether the path leads out of the folder is checked when the file is read.
    let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(Look {
        modified: metadata.modified().ok(),
        bytes: metadata.len(),
    })
}
