//! Caches in temporary directories, made-up artifacts, and child processes.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ferrite_cache::{
    Cache, CacheOptions, CompiledModule, Digest, Manifest, ModuleInfo, Profile, Rewind,
    VerifiedArtifact,
};

/// Names the test that a child process runs, and what it is to do.
const CHILD: &str = "FERRITE_CACHE_TEST_CHILD";

/// A cache in a directory that goes away with it.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) cache: Cache,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_size(u64::MAX)
    }

    pub(crate) fn with_size(size_bytes_max: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::open(CacheOptions {
            root: directory.path().join("cache"),
            size_bytes_max,
        })
        .expect("a new cache opens");
        Self { directory, cache }
    }

    /// The path of something below the format's directory.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.cache.root().join("v1").join(below)
    }

    /// Names in a directory below the format's, sorted.
    pub(crate) fn names(&self, below: &str) -> Vec<String> {
        names(&self.path(below))
    }
}

pub(crate) fn open(root: &Path) -> Cache {
    Cache::open(CacheOptions {
        root: root.to_owned(),
        size_bytes_max: u64::MAX,
    })
    .expect("the cache opens")
}

/// Names in a directory, sorted; none where there is no directory.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .map(|entry| {
            let entry = entry.expect("the directory can be listed");
            entry.file_name().into_string().expect("names are text")
        })
        .collect();
    names.sort();
    names
}

/// Something to publish: the bytes stand for a module and for its native code.
pub(crate) struct Example {
    pub(crate) source: Vec<u8>,
    pub(crate) artifact: Vec<u8>,
    pub(crate) manifest: Manifest,
}

impl Example {
    pub(crate) fn new(name: &str) -> Self {
        Self::of_len(name, 48)
    }

    /// With an artifact of `len` bytes.
    pub(crate) fn of_len(name: &str, len: usize) -> Self {
        let source = format!("source of {name}").into_bytes();
        let artifact: Vec<u8> = name.bytes().cycle().take(len).collect();
        let manifest = Manifest {
            source: Digest::of(&source),
            source_len: source.len() as u64,
            artifact: Digest::of(&artifact),
            artifact_len: artifact.len() as u64,
            profile: Profile::native(),
            module: ModuleInfo {
                name: Some(name.to_owned()),
                imports: Vec::new(),
                exports: Vec::new(),
                entries: Vec::new(),
                memory: None,
                table_elements_min: 0,
                functions: 1,
                code_len: 2,
                initialize: false,
                start: false,
                rewind: Rewind::Refused {
                    reason: "it is made up".to_owned(),
                },
                meter: None,
                stack_depth: None,
                automation: ferrite_cache::Automation::default(),
                limits: None,
            },
            compile_micros: 3,
            signed_by: None,
            image: None,
        };
        Self {
            source,
            artifact,
            manifest,
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.manifest.source
    }

    /// The example as a compiler returns it.
    pub(crate) fn compiled(&self) -> CompiledModule {
        CompiledModule {
            source: self.source.clone(),
            manifest: self.manifest.clone(),
            artifact: self.artifact.clone(),
            image: None,
        }
    }

    pub(crate) fn lookup(&self, cache: &Cache) -> Option<VerifiedArtifact> {
        cache
            .lookup(&self.digest(), &self.manifest.profile)
            .expect("the disk works")
    }

    pub(crate) fn publish(&self, cache: &Cache) -> VerifiedArtifact {
        cache
            .publish(&self.manifest, &self.artifact)
            .expect("the disk works")
    }

    /// Returns true if the cache has this very artifact.
    pub(crate) fn is_in(&self, cache: &Cache) -> bool {
        self.lookup(cache).is_some_and(|found| {
            assert_eq!(bytes_of(&found), self.artifact);
            assert_eq!(*found.manifest(), self.manifest);
            true
        })
    }

    pub(crate) fn artifact_path(&self, cache: &Cache) -> PathBuf {
        cache.artifact_path(&self.digest(), &self.manifest.profile)
    }

    pub(crate) fn manifest_path(&self, cache: &Cache) -> PathBuf {
        self.artifact_path(cache).with_extension("meta")
    }
}

/// The bytes of an artifact's file.
pub(crate) fn bytes_of(artifact: &VerifiedArtifact) -> Vec<u8> {
    let len = usize::try_from(artifact.len()).expect("it is small");
    let mut bytes = vec![0; len];
    artifact
        .file()
        .read_exact_at(&mut bytes, 0)
        .expect("the file can be read");
    bytes
}

/// Puts bytes in place of a published file, as an intruder or a bad disk would.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    remove(path);
    fs::write(path, bytes).expect("the directory is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

pub(crate) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Returns true if this process has all rights; if not, reports that the test is skipped.
pub(crate) fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(&format!("only root can {what}"));
    }
    root
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests should know")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// Starts this test binary again, to run one ignored test with an argument.
pub(crate) fn spawn(test: &str, argument: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program has a path"))
        .args([
            "--exact",
            test,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts again")
}

/// The argument with which [`spawn`] started this process, if it did.
pub(crate) fn child_argument() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Waits, in a child, until the parent closes the pipe.
pub(crate) fn wait_for_parent() {
    let mut sink = Vec::new();
    std::io::stdin()
        .read_to_end(&mut sink)
        .expect("the pipe works");
}
