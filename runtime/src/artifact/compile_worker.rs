//! The client of the compile worker: one process per module, source in and artifact out over pipes.
//!
//! The runtime links no compiler. A worker that crashes, hangs or uses too much memory is an error
//! of one load; this process waits for it no longer than configured.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ferrite_cache::worker_protocol::{
    CompileRequest, CompileResponse, ResponseLimits, read_response, write_request,
};

use crate::error::{CallError, Code};
use crate::policy::quantity::HumanDuration;
use ferrite_protocol::error_chain::ErrorChain;

/// The compiler's program, which contains the worker.
const PROGRAM: &str = "ferrite-wasmc";

/// The compiler's location, and the bounds of a compilation.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The program; if `None`, the one beside this process's own or on `PATH`.
    pub program: Option<PathBuf>,
    /// Longest compilation.
    pub time_max: Duration,
    /// Largest artifact, in bytes.
    pub artifact_bytes_max: u64,
    /// Largest WebAssembly that a text may expand to, in bytes.
    pub source_bytes_max: u64,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            program: None,
            time_max: Duration::from_secs(120),
            artifact_bytes_max: 512 << 20,
            source_bytes_max: 64 << 20,
        }
    }
}

/// Reason why the worker gave no artifact.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The machine has no compiler, or not at the configured place.
    #[error(
        "{reason}; precompile the module where there is one: ferrite-wasmc compile FILE --cache DIR, and load it by its blake3:<digest>"
    )]
    Missing {
        /// The place that was searched.
        reason: Box<str>,
    },
    /// The program did not start.
    #[error("the compiler {} cannot be started: {problem}", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The error.
        problem: io::Error,
    },
    /// The compiler refused the module.
    #[error("{message}")]
    Refused {
        /// The error's code for clients.
        code: Code,
        /// The problem in the module, and its place.
        message: Box<str>,
    },
    /// The compilation took too long.
    #[error("compiling was ended after {limit}; precompile the module with ferrite-wasmc compile")]
    Timeout {
        /// The limit.
        limit: HumanDuration,
    },
    /// The worker died, or its answer is invalid.
    #[error("the compiler failed ({how}): {said}")]
    Failed {
        /// The exit status of the process.
        how: Box<str>,
        /// Its standard error, or the problem with its answer.
        said: Box<str>,
    },
}

impl WorkerError {
    /// Returns the error's code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::NoArtifact,
            Self::Refused { code, .. } => *code,
            Self::Timeout { .. } => Code::Timeout,
            Self::Start { .. } | Self::Failed { .. } => Code::NoArtifact,
        }
    }
}

impl From<WorkerError> for CallError {
    fn from(error: WorkerError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Has a worker do a job. Blocks until the result is there.
///
/// The answer's digests match its bytes. The caller must check that they are those of the job's source:
/// only it knows if that was text.
pub fn compile(
    options: &WorkerOptions,
    job: &CompileRequest<'_>,
) -> Result<CompileResponse, WorkerError> {
    let mut command = Command::new(find(options.program.as_deref())?);
    command.arg("worker");
    compile_by(command, options, job)
}

fn compile_by(
    mut command: Command,
    options: &WorkerOptions,
    job: &CompileRequest<'_>,
) -> Result<CompileResponse, WorkerError> {
    let child = command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|problem| WorkerError::Start {
            program: command.get_program().into(),
            problem,
        })?;
    let answer = converse(Reaped(child), job, options)?;
    if let CompileResponse::Refused(refusal) = answer {
        return Err(WorkerError::Refused {
            code: match refusal.code.as_str() {
                "INVALID" => Code::Invalid,
                "LIMIT" => Code::Limit,
                _ => Code::NoArtifact,
            },
            // The message contains the offset already.
            message: refusal.message.into(),
        });
    }
    Ok(answer)
}

/// Returns the compiler's program: the configured one, else the one beside our own, else on `PATH`.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, WorkerError> {
    let missing = |reason: String| WorkerError::Missing {
        reason: reason.into(),
    };
    if let Some(program) = configured {
        return if is_program(program) {
            Ok(program.to_path_buf())
        } else {
            Err(missing(format!(
                "the configured compiler {} is no program that can be run",
                program.display()
            )))
        };
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(|folder| folder.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(programs_on(&path))
        .find(|program| is_program(program))
        .ok_or_else(|| {
            missing(format!(
                "there is no compiler here ({PROGRAM} is neither beside this program nor on PATH, and wasm.compiler is not set)"
            ))
        })
}

/// Leaves out relative folders in `PATH`: they depend on the working directory.
fn programs_on(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(PROGRAM))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// A child process that is always killed and waited for.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the job, reads the answer, and kills the worker if that takes too long.
fn converse(
    mut child: Reaped,
    job: &CompileRequest<'_>,
    options: &WorkerOptions,
) -> Result<CompileResponse, WorkerError> {
    let bounds = ResponseLimits {
        source_bytes_max: options.source_bytes_max,
        artifact_bytes_max: options.artifact_bytes_max,
    };
    let (Some(mut input), Some(mut output), Some(errors)) = (
        child.0.stdin.take(),
        child.0.stdout.take(),
        child.0.stderr.take(),
    ) else {
        // Each was requested as a pipe.
        return Err(failed("no pipes", ""));
    };
    let pid = rustix::process::Pid::from_child(&child.0);
    let (done, watched) = channel::<()>();
    let (answer, said, timed_out) = std::thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let timed_out =
                watched.recv_timeout(options.time_max) == Err(RecvTimeoutError::Timeout);
            if timed_out {
                // The child was not waited for yet, so the process id is still its own.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            timed_out
        });
        // A dead worker takes no job; its status and its standard error then give the reason.
        let writer = scope.spawn(move || write_request(&mut input, job));
        let listener = scope.spawn(move || read_some(errors));
        let answer = read_response(&mut output, &bounds, &job.engines);
        // It has nothing more to write. A dead worker keeps its own status.
        let _ = child.0.kill();
        drop(output);
        let _ = writer.join();
        let said = listener.join().unwrap_or_default();
        drop(done);
        (answer, said, watchdog.join().unwrap_or(false))
    });
    match answer {
        Ok(answer) => Ok(answer),
        Err(_) if timed_out => Err(WorkerError::Timeout {
            limit: HumanDuration(options.time_max),
        }),
        Err(error) => {
            let how = child
                .0
                .wait()
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            let said = if said.is_empty() {
                ErrorChain(&error).to_string()
            } else {
                said
            };
            Err(failed(&how, &said))
        }
    }
}

fn failed(how: &str, said: &str) -> WorkerError {
    WorkerError::Failed {
        how: how.into(),
        said: said.into(),
    }
}

/// Returns the part that fits into an error, and drains the rest, so that the worker never waits
/// for a reader.
fn read_some(mut errors: impl Read) -> String {
    const KEPT_BYTES: u64 = 2048;
    let mut kept = Vec::new();
    // A failed pipe has no content.
    let _ = errors.by_ref().take(KEPT_BYTES).read_to_end(&mut kept);
    let _ = io::copy(&mut errors, &mut io::sink());
    String::from_utf8_lossy(kept.trim_ascii()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use ferrite_cache::Profile;
    use ferrite_cache::worker_protocol::SourceKind;

    use super::{CompileRequest, WorkerOptions, compile_by, find};
    use crate::error::CallError;

    /// Runs a worker in the shell. Its environment is empty, so only shell built-ins work.
    fn run(script: &str, time_max: Duration, source: &[u8]) -> String {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        let options = WorkerOptions {
            time_max,
            ..WorkerOptions::default()
        };
        let job = CompileRequest {
            profile: Profile::native(),
            source: source.into(),
            kind: SourceKind::Source,
            engines: Vec::new(),
        };
        match compile_by(command, &options, &job) {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => CallError::from(error).to_string(),
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_worker_that_fails_is_an_error_that_says_how() {
        for (script, expected) in [
            (
                "echo out of luck >&2; exit 3",
                "NOARTIFACT the compiler failed (exit status: 3): out of luck",
            ),
            (
                "kill -9 $$",
                "NOARTIFACT the compiler failed (signal: 9 (SIGKILL)): the other side of the pipe ended in the middle of its message",
            ),
            (
                "echo this is no answer at all",
                "NOARTIFACT the compiler failed (",
            ),
        ] {
            let said = run(script, LONG, &[0; 1 << 20]);
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn a_worker_that_hangs_is_ended() {
        let said = run(
            "while :; do :; done",
            Duration::from_millis(50),
            &[0; 1 << 20],
        );
        assert_eq!(
            said,
            "TIMEOUT compiling was ended after 50ms; precompile the module with ferrite-wasmc compile"
        );
    }

    #[test]
    fn what_a_worker_says_is_bounded() {
        let said = run(
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done",
            LONG,
            b"",
        );
        assert!(
            said.starts_with("NOARTIFACT the compiler failed (exit status: 0): 0123"),
            "{said}"
        );
        assert!(said.len() < 3000);
    }

    #[test]
    fn a_refusal_keeps_its_code_and_message() {
        // 8 bytes of magic, four lengths, and the header in JSON.
        let header =
            r#"{"refused":{"code":"INVALID","message":"bad magic (at offset 0x7)","offset":7}}"#;
        let script = format!(
            "printf 'FERRANS\\002\\{:03o}\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'; printf '%s' '{header}'",
            header.len()
        );
        assert_eq!(
            run(&script, LONG, b"x"),
            "INVALID bad magic (at offset 0x7)"
        );
    }

    #[test]
    fn a_missing_compiler_is_said_with_what_to_do() {
        let error = find(Some(Path::new("/nonexistent/ferrite-wasmc"))).expect_err("missing");
        assert_eq!(
            CallError::from(error).to_string(),
            "NOARTIFACT the configured compiler /nonexistent/ferrite-wasmc is no program that can be run; precompile the module where there is one: ferrite-wasmc compile FILE --cache DIR, and load it by its blake3:<digest>"
        );
    }
}
