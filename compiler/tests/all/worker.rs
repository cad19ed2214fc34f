//! The worker at the far end of its pipes, in this process and in one of its own.

use std::borrow::Cow;
use std::io::{Cursor, Read, Write};
use std::process::{Command, Stdio};

use ferrite_cache::worker_protocol::{
    CompileRequest, CompileResponse, ResponseLimits, SourceKind, read_response, write_request,
};
use ferrite_cache::{Digest, Profile};
use ferrite_compiler::{SourceLimits, worker};

const ANSWER_BOUNDS: ResponseLimits = ResponseLimits {
    source_bytes_max: 64 << 20,
    artifact_bytes_max: 1 << 30,
};

/// Set in the process that is to be a worker.
const WORKER: &str = "FERRITE_TEST_WORKER";

/// Compiles in another process: this test program, run with only the worker's test.
pub(crate) fn in_a_process(profile: &Profile, source: &[u8]) -> CompileResponse {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .args(["--exact", "worker::be_a_worker", "--nocapture", "--quiet"])
        .env(WORKER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process can be started");
    let job = CompileRequest {
        profile: profile.clone(),
        source: Cow::Borrowed(source),
        kind: SourceKind::Source,
        engines: Vec::new(),
    };
    let mut input = child.stdin.take().expect("it was piped");
    write_request(&mut input, &job).expect("the worker reads");
    drop(input);
    let mut output = child.stderr.take().expect("it was piped");
    let answer = read_response(&mut output, &ANSWER_BOUNDS, &[]).expect("the worker answers");
    child.wait().expect("the worker ends");
    answer
}

/// Not a test of its own: what the other process of [`in_a_process`] runs.
///
/// It answers on standard error, as the test harness writes to standard output.
#[test]
fn be_a_worker() {
    if std::env::var_os(WORKER).is_some() {
        let (mut input, mut output) = (std::io::stdin(), std::io::stderr());
        worker::serve(&mut input, &mut output, &SourceLimits::default())
            .expect("the parent is there");
    }
}

fn serve(source: &[u8], bounds: &SourceLimits) -> CompileResponse {
    let job = CompileRequest {
        profile: Profile::native(),
        source: Cow::Borrowed(source),
        kind: SourceKind::Source,
        engines: Vec::new(),
    };
    let mut input = Vec::new();
    write_request(&mut input, &job).expect("memory takes everything");
    let mut output = Vec::new();
    worker::serve(&mut input.as_slice(), &mut output, bounds).expect("memory takes everything");
    read_response(&mut output.as_slice(), &ANSWER_BOUNDS, &[]).expect("a whole answer")
}

#[test]
fn text_is_compiled_and_its_module_comes_along() {
    let text = "(module (func (export \"run\")))";
    let CompileResponse::Compiled {
        manifest,
        source,
        artifact,
        image: _,
    } = serve(text.as_bytes(), &SourceLimits::default())
    else {
        panic!("{}", crate::VALID);
    };
    assert_eq!(source, wat::parse_str(text).expect(crate::VALID));
    assert_eq!(manifest.artifact, Digest::of(&artifact));
    assert_eq!(manifest.module.entries[0].name, "run");
}

#[test]
fn a_bad_source_is_refused_with_its_offset() {
    let CompileResponse::Refused(refusal) =
        serve(b"\0asm\x01\0\0\0\x0e\x01\0", &SourceLimits::default())
    else {
        panic!("it was compiled");
    };
    assert_eq!(refusal.code, "INVALID");
    assert_eq!(refusal.offset, Some(10));
}

#[test]
fn a_source_beyond_the_bounds_is_refused_and_read_to_its_end() {
    let bounds = SourceLimits {
        source_bytes_max: 1_000,
        ..SourceLimits::default()
    };
    let job = CompileRequest {
        profile: Profile::native(),
        source: Cow::Owned(vec![0; 100_000]),
        kind: SourceKind::Source,
        engines: Vec::new(),
    };
    let mut input = Vec::new();
    write_request(&mut input, &job).expect("memory takes everything");
    let (mut input, mut output) = (Cursor::new(input), Vec::new());
    worker::serve(&mut input, &mut output, &bounds).expect("memory takes everything");
    let answer =
        read_response(&mut output.as_slice(), &ANSWER_BOUNDS, &[]).expect("a whole answer");
    let CompileResponse::Refused(refusal) = answer else {
        panic!("it was compiled");
    };
    assert_eq!(refusal.code, "LIMIT");
    let mut rest = Vec::new();
    input.read_to_end(&mut rest).expect("memory can be read");
    // The header stands between the lengths and the source, and is left over.
    assert!(rest.len() < 10_000, "{} bytes are left", rest.len());
}

#[test]
fn a_parent_that_says_nothing_sensible_is_answered_and_reported() {
    for input in [&b""[..], b"FERRJOB\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut output = Vec::new();
        let served = worker::serve(&mut &*input, &mut output, &SourceLimits::default());
        assert!(matches!(served, Err(worker::WorkerError::Request(_))));
        let answer =
            read_response(&mut output.as_slice(), &ANSWER_BOUNDS, &[]).expect("a whole answer");
        assert!(matches!(answer, CompileResponse::Refused(_)), "{answer:?}");
    }
}

/// A parent that died: every write fails.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_answer_that_nobody_takes_is_reported() {
    let job = CompileRequest {
        profile: Profile::native(),
        source: Cow::Borrowed(b"(module)"),
        kind: SourceKind::Source,
        engines: Vec::new(),
    };
    let mut input = Vec::new();
    write_request(&mut input, &job).expect("memory takes everything");
    let served = worker::serve(&mut input.as_slice(), &mut Gone, &SourceLimits::default());
    assert!(matches!(served, Err(worker::WorkerError::Response(_))));
}
