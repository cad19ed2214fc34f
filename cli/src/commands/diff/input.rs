//! One side of a comparison: a bundle, or a module alone.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ferrite_cache::bundle::{BundleManifest, KeyId};
use ferrite_cache::{Digest, ModuleInfo};
use ferrite_compiler::{CompileError, SourceLimits};
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::LimitSettings;
use ferrite_runtime::policy::permissions::Permissions;
use serde::Serialize;

use crate::files::{bundle_file, source_file};

/// One side of a comparison.
pub(crate) struct DiffInput {
    pub(crate) file: PathBuf,
    pub(crate) source: Digest,
    pub(crate) module: ModuleInfo,
    /// Permissions that the bundle asks for, or the server's default, which only reads.
    pub(crate) permissions: Permissions,
    pub(crate) limits: LimitSettings,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) release: Option<Release>,
}

/// The facts that only a bundle has.
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sequence: u64,
    /// The key that the signature names; the signature was not checked.
    pub(crate) key: Option<KeyId>,
}

/// One side of a comparison, for the report.
#[derive(Serialize)]
pub(crate) struct InputReport {
    file: PathBuf,
    source: Digest,
    name: Option<String>,
    version: Option<String>,
    sequence: Option<u64>,
    signed_by: Option<KeyId>,
}

impl DiffInput {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        if bundle_file::is_bundle_file(path) {
            let members = bundle_file::read(path)?;
            let key = members.signature.map(|signature| signature.key());
            return Self::of_bundle(path, members.manifest, key).with_context(name);
        }
        let bounds = SourceLimits::default();
        let bytes = source_file::read(path, bounds.source_bytes_max).with_context(name)?;
        let wasm = ferrite_compiler::to_stored(&bytes, &bounds)
            .map_err(CompileError::from)
            .with_context(name)?;
        let module = ferrite_compiler::describe(&wasm, &bounds).with_context(name)?;
        Ok(Self {
            file: path.to_owned(),
            source: Digest::of(&wasm),
            module,
            permissions: Permissions::default(),
            limits: LimitSettings::default(),
            isolation: None,
            release: None,
        })
    }

    fn of_bundle(path: &Path, manifest: BundleManifest, key: Option<KeyId>) -> Result<Self> {
        let json = |value: &serde_json::Value| value.to_string().into_bytes();
        let permissions = manifest.permissions.as_ref().map(json);
        let limits = manifest.limits.as_ref().map(json);
        let isolation = manifest.isolation.as_deref();
        Ok(Self {
            file: path.to_owned(),
            source: manifest.source.digest,
            permissions: match permissions {
                Some(json) => Permissions::from_json(&json)?,
                None => Permissions::default(),
            },
            limits: match limits {
                Some(json) => LimitSettings::from_json(&json)?,
                None => LimitSettings::default(),
            },
            isolation: isolation.map(str::parse).transpose()?,
            module: manifest.module,
            release: Some(Release {
                name: manifest.name,
                version: manifest.version,
                sequence: manifest.sequence,
                key,
            }),
        })
    }

    pub(crate) fn into_report(self) -> InputReport {
        let release = self.release.as_ref();
        InputReport {
            name: release.map(|release| release.name.clone()),
            version: release.map(|release| release.version.clone()),
            sequence: release.map(|release| release.sequence),
            signed_by: release.and_then(|release| release.key),
            file: self.file,
            source: self.source,
        }
    }
}

impl fmt::Display for InputReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let (Some(name), Some(version), Some(sequence)) =
            (&self.name, &self.version, self.sequence)
        {
            write!(f, "  {name} {version}, sequence {sequence}")?;
        }
        Ok(())
    }
}
