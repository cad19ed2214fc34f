//! `ferrite-wasmc bundle`: packs one function with native code for many machines into one file.

mod options;
mod report;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ferrite_cache::bundle::{ArtifactMember, BUNDLE_FORMAT, BundleManifest, Member, SignatureText};
use ferrite_cache::{
    ArtifactBuf, Baseline, Cache, Digest, ImageInfo, LIMITS_SECTION, ModuleInfo, Profile, Target,
    VerifiedArtifact,
};
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::LimitSettings;

use crate::files::bundle_file;
use crate::files::cache_folder::CacheFolder;
use crate::files::source_file;
use crate::keys::Signer;
use crate::platform::Platform;
use crate::precompile::{NativeCode, OnCacheFailure, Precompiler};
use crate::terminal::console::{Console, Exit};
use crate::terminal::progress::Progress;
use options::{BundleTarget, Options};
use report::{ArtifactReport, BundleReport};

/// The arguments of `ferrite-wasmc bundle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Module to bundle, as `.wasm` or in the text format; or the folder of a project, which is built
    /// first. What ferrite.project.toml of the project has need not be given
    file: PathBuf,

    /// Name of the function; servers load the bundle under this name only
    #[arg(long)]
    name: Option<String>,

    /// Version of the function, for people
    #[arg(long)]
    version: Option<String>,

    /// File to write the bundle to. Default: NAME-VERSION.cwasm.tar
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Description of the function, for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Number that grows with every release: a server refuses a lower number than it has loaded.
    /// Default: the time of creation
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,

    /// Time of creation in seconds since 1970. Default: now. The same inputs with the same time
    /// give the same bytes
    #[arg(
        long,
        value_name = "UNIX",
        env = "SOURCE_DATE_EPOCH",
        hide_env_values = true
    )]
    created: Option<u64>,

    /// Time after its creation in which the bundle can be loaded, such as `90d` or `12h`. Default:
    /// it does not expire
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,

    /// Permissions of the function, as JSON or `read-only`, `read-write` or `none`. Default: those
    /// of the server
    #[arg(long, value_name = "JSON")]
    permissions: Option<String>,

    /// Limits of each call, as JSON. Default: those of the server
    #[arg(long, value_name = "JSON")]
    limits: Option<String>,

    /// Isolation between calls: fresh, rewind or reuse. Default: that of the server
    #[arg(long)]
    isolation: Option<Isolation>,

    /// Platform to compile for: x86-64-v2, x86-64-v3, aarch64, native, a triple, or none for the
    /// source alone. May be given several times. Default: all but native
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<BundleTarget>,

    /// Count the depth of nested calls, as the limit max_stack_depth requires. Default: only if
    /// --limits has a max_stack_depth
    #[arg(long)]
    stack_depth: bool,

    /// Secret key to sign with. A bundle can also be signed later, with `sign`
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,

    #[command(flatten)]
    cache: CacheFolder,
}

/// Compiles for every profile, and writes and signs the bundle.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let options = Options::resolve(arguments, console)?;
    // A wrong password is reported before anything is compiled.
    let signer = options.sign.as_deref().map(Signer::read).transpose()?;
    let progress = Progress::new(options.profiles.len(), console.is_json());
    let cache = match options.cache.open() {
        Ok(cache) => Some(cache),
        Err(error) => {
            progress.set_message(&format!("warning: working without the cache: {error:#}"));
            None
        }
    };
    let compiled = compile(&options, cache.as_ref(), &progress)?;
    drop(progress);
    let (manifest, members) = options.manifest(&compiled)?;
    let json = manifest.to_json();
    let signature: Option<SignatureText> = match &signer {
        Some(signer) => Some(signer.sign(&manifest, &json)?),
        None => None,
    };
    bundle_file::write(
        &options.output,
        &json,
        signature.as_ref(),
        &compiled.source,
        &members,
    )?;
    let bytes = std::fs::metadata(&options.output)
        .with_context(|| options.output.display().to_string())?
        .len();
    let mut artifacts: Vec<_> = manifest
        .artifacts
        .iter()
        .map(|artifact| ArtifactReport {
            platform: Platform::of(&artifact.profile),
            profile: artifact.profile.fingerprint(),
            digest: artifact.code.digest,
            bytes: artifact.code.size,
        })
        .collect();
    artifacts.sort_by_key(|artifact| artifact.platform);
    console.print(&BundleReport {
        bundle: options.output,
        bytes,
        manifest: Digest::of(&json),
        source: manifest.source.digest,
        source_bytes: manifest.source.size,
        artifacts,
        name: manifest.name,
        version: manifest.version,
        sequence: manifest.sequence,
        created_unix: manifest.created_unix,
        expires_unix: manifest.expires_unix,
        signed_by: signer.as_ref().map(Signer::id),
        declares: manifest.module.automation.lines().collect(),
    })?;
    Ok(Exit::Done)
}

/// A source and its native code, sorted by the profiles' fingerprints.
struct CompiledAll {
    source: Vec<u8>,
    module: ModuleInfo,
    artifacts: Vec<(Profile, Option<ImageInfo>, ArtifactBuf)>,
}

fn compile(options: &Options, cache: Option<&Cache>, progress: &Progress) -> Result<CompiledAll> {
    let mut module = None;
    let mut wasm = None;
    let mut artifacts = Vec::new();
    // Compiling a module also describes its contents, so without profiles any profile will do.
    let any = [Profile::new(Target::host(), lowest(Target::host()))?];
    let profiles = if options.profiles.is_empty() {
        &any[..]
    } else {
        &options.profiles
    };
    for profile in profiles {
        let precompiler = Precompiler::new(profile.clone(), options.jobs, cache.cloned());
        if wasm.is_none() {
            let bounds = precompiler.bounds();
            let bytes = source_file::read(&options.file, bounds.source_bytes_max)
                .with_context(|| options.file.display().to_string())?;
            let binary = ferrite_compiler::to_stored(&bytes, bounds)
                .map_err(ferrite_compiler::CompileError::from)
                .with_context(|| options.file.display().to_string())?;
            wasm = Some(binary.into_owned());
        }
        let source = wasm.as_deref().unwrap_or_default();
        let name = format!("{} for {}", options.file.display(), Platform::of(profile));
        let found = precompiler
            .find_or_compile(&name, source, OnCacheFailure::Warn, &|text| {
                progress.set_message(&text);
            })
            .with_context(|| options.file.display().to_string())?;
        progress.step();
        let NativeCode {
            manifest, artifact, ..
        } = found;
        let manifest_image = manifest.image.clone();
        match &module {
            Some(module) if *module != manifest.module => bail!(
                "the compiler found different things in the module for {} than before, which is a bug",
                profile.baseline()
            ),
            Some(_) => {}
            None => module = Some(manifest.module),
        }
        if !options.profiles.is_empty() {
            artifacts.push((profile.clone(), manifest_image, code(&artifact)?));
        }
    }
    let (Some(source), Some(module)) = (wasm, module) else {
        bail!("there is no profile to compile for");
    };
    if let Err(error) = ferrite_runtime::automation::declared::check(&module.automation) {
        bail!("{}: {error}", options.file.display());
    }
    artifacts.sort_by_key(|(profile, ..)| profile.fingerprint().to_string());
    Ok(CompiledAll {
        source,
        module,
        artifacts,
    })
}

fn lowest(target: Target) -> Baseline {
    target
        .baselines()
        .last()
        .copied()
        .unwrap_or(Baseline::Native)
}

fn code(artifact: &VerifiedArtifact) -> Result<ArtifactBuf> {
    Ok(ArtifactBuf {
        native: read_all(artifact.file())?,
        image: artifact.image().map(read_all).transpose()?,
    })
}

fn read_all(file: &File) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

impl Options {
    /// Returns the bundle's manifest, and the artifacts in the manifest's order.
    ///
    /// # Errors
    ///
    /// The limits that the module needs are wrong.
    fn manifest(&self, compiled: &CompiledAll) -> Result<(BundleManifest, Vec<ArtifactBuf>)> {
        // What the module needs is signed with everything else that it may have.
        let needed = compiled.module.limits.as_deref().map(|text| {
            LimitSettings::from_json(text.as_bytes())
                .with_context(|| format!("custom section {LIMITS_SECTION}"))
        });
        let limits = match (&self.limits, needed.transpose()?) {
            (Some(given), Some(needed)) => Some(given.or(&needed)),
            (Some(given), None) => Some(given.clone()),
            (None, needed) => needed,
        };
        let member = |bytes: &[u8]| Member {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        let json = |value| serde_json::to_value(value).unwrap_or_default();
        let manifest = BundleManifest {
            format: BUNDLE_FORMAT,
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            sequence: self.sequence,
            created_unix: self.created_unix,
            expires_unix: self.expires_unix,
            isolation: self.isolation.map(|isolation| isolation.to_string()),
            permissions: self.permissions.as_ref().map(json),
            limits: limits.map(|limits| serde_json::to_value(limits).unwrap_or_default()),
            module: compiled.module.clone(),
            source: member(&compiled.source),
            artifacts: compiled
                .artifacts
                .iter()
                .map(|(profile, image, code)| ArtifactMember {
                    described: profile.to_string(),
                    profile: profile.clone(),
                    code: member(&code.native),
                    compile_micros: 0,
                    image: image.clone(),
                })
                .collect(),
        };
        let members = compiled
            .artifacts
            .iter()
            .map(|(_, _, code)| code.clone())
            .collect();
        Ok((manifest, members))
    }
}
