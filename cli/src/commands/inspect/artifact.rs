//! Describes artifacts by their own bytes and by the cache's manifest.

use anyhow::{Context, Result, bail};
use ferrite_cache::{Cache, Digest, Manifest, Profile, Target};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};

use super::report::ArtifactReport;

/// The ELF section that holds the version string which our profiles give to wasmtime.
const ENGINE_SECTION: &str = ".wasmtime.engine";

/// Prefix of our version strings, and the number of hexadecimal digits after it.
const VERSION_PREFIX: &[u8] = b"ferrite-";
const VERSION_HEX_LEN: usize = 16;

/// Returns true if these bytes are the beginning of an ELF file.
pub(super) fn is_artifact(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Describes an artifact by its bytes, and by its manifest if the cache has one.
pub(super) fn describe(bytes: &[u8], cache: Option<&Cache>) -> Result<ArtifactReport> {
    let elf: ElfFile64<'_> = ElfFile64::parse(bytes).context("not a readable ELF file")?;
    let Some(section) = elf.section_by_name(ENGINE_SECTION) else {
        bail!("this is an ELF file, but none that wasmtime compiled");
    };
    let version = version(section.data()?);
    // The file is ELF on every system; the engine's section names the triple.
    let engine = section.data()?;
    let target = Target::ALL.into_iter().find(|target| {
        let triple = target.triple().as_bytes();
        engine.windows(triple.len()).any(|part| part == triple)
    });
    let digest = Digest::of(bytes);
    let manifest = match cache {
        Some(cache) => manifest(&digest, cache)?,
        None => None,
    };
    Ok(report(
        digest,
        bytes.len() as u64,
        target,
        version,
        manifest,
    ))
}

/// Describes the artifact with this digest by its manifest; returns nothing if the cache lacks it.
pub(super) fn in_cache(digest: &Digest, cache: &Cache) -> Result<Option<ArtifactReport>> {
    Ok(manifest(digest, cache)?.map(|manifest| {
        report(
            *digest,
            manifest.artifact_len,
            Some(manifest.profile.target()),
            Some(manifest.profile.engine_version()),
            Some(manifest),
        )
    }))
}

fn report(
    artifact: Digest,
    bytes: u64,
    target: Option<Target>,
    engine_version: Option<String>,
    manifest: Option<Manifest>,
) -> ArtifactReport {
    let refused = refusal(target, engine_version.as_deref(), manifest.as_ref());
    ArtifactReport {
        artifact,
        bytes,
        target,
        engine_version,
        profile: manifest
            .as_ref()
            .map(|manifest| manifest.profile.fingerprint()),
        described: manifest
            .as_ref()
            .map(|manifest| manifest.profile.to_string()),
        source: manifest.as_ref().map(|manifest| manifest.source),
        rewind: manifest
            .as_ref()
            .map(|manifest| manifest.module.rewind.clone()),
        automation: manifest
            .as_ref()
            .map(|manifest| manifest.module.automation.clone()),
        entries: manifest.map(|manifest| manifest.module.entries),
        refused,
    }
}

/// Returns why this build would not load the artifact on this machine; nothing if it would.
fn refusal(
    target: Option<Target>,
    version: Option<&str>,
    manifest: Option<&Manifest>,
) -> Option<String> {
    let host = Target::host();
    match target {
        Some(target) if target == host => {}
        Some(target) => return Some(format!("it is for {target}, and this machine is {host}")),
        None => return Some(format!("it is for another platform than {host}")),
    }
    let ours = Profile::native().engine_version();
    match version {
        Some(version) if version == ours => {}
        Some(version) => {
            return Some(format!(
                "it was compiled by another release or with other settings ({version}, and this \
                 build has {ours}); compile its source again"
            ));
        }
        None => {
            return Some(format!(
                "it was not compiled by ferrite-wasmc (this build has {ours}); compile its source"
            ));
        }
    }
    let profile = &manifest?.profile;
    if let Err(error) = profile.check() {
        return Some(error.to_string());
    }
    let native = Profile::native();
    let missing: Vec<&str> = profile
        .cpu_features()
        .iter()
        .filter(|feature| !native.cpu_features().contains(feature))
        .map(String::as_str)
        .collect();
    (!missing.is_empty()).then(|| format!("this machine's CPU has no {}", missing.join(", ")))
}

/// Returns the manifest of the artifact with this digest, if the cache has it.
fn manifest(digest: &Digest, cache: &Cache) -> Result<Option<Manifest>> {
    Ok(super::manifests(cache)?.find(|manifest| manifest.artifact == *digest))
}

/// Finds our version string in wasmtime's section, which holds other data too.
fn version(section: &[u8]) -> Option<String> {
    let at = section
        .windows(VERSION_PREFIX.len())
        .position(|window| window == VERSION_PREFIX)?;
    let text = section.get(at..at + VERSION_PREFIX.len() + VERSION_HEX_LEN)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::version;
    use ferrite_cache::Profile;

    #[test]
    fn the_version_is_found_among_other_bytes() {
        let ours = Profile::native().engine_version();
        let mut section = vec![0, 24];
        section.extend_from_slice(ours.as_bytes());
        section.extend_from_slice(b"\x01\x02rest");
        assert_eq!(version(&section), Some(ours));
        assert_eq!(version(b"\0\x06ferrite-0123"), None);
        assert_eq!(version(b"48.0.8"), None);
    }
}
