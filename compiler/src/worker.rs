//! The compile worker: reads one request, writes one response, and ends.
//!
//! A source that breaks the compiler only breaks this process: a panic becomes a response, and a
//! crash leaves the parent running.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ferrite_cache::worker_protocol::{
    CompileRequest, CompileResponse, Refusal, SourceKind, WorkerProtocolError, read_request,
    write_response,
};
use thiserror::Error;

use crate::compile::emit::Compiled;
use crate::compile::{CompileError, Compiler};
use crate::limits::SourceLimits;

/// The worker could not read its request or write its response. A refused source is not an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The request could not be read.
    #[error("the worker got no job that it understands")]
    Request(#[source] WorkerProtocolError),
    /// The response could not be written.
    #[error("the worker's answer was not taken")]
    Response(#[source] WorkerProtocolError),
}

/// Reads one request, compiles it, and writes the response.
///
/// # Errors
///
/// The request is malformed (the parent gets a response too), or the response cannot be written.
pub fn serve(
    input: &mut impl Read,
    output: &mut impl Write,
    bounds: &SourceLimits,
) -> Result<(), WorkerError> {
    let answer = match read_request(input, bounds.source_bytes_max) {
        Ok(job) => answer(&job, bounds),
        Err(WorkerProtocolError::TooLong {
            part: "source",
            len,
            max,
        }) => {
            // The parent writes the whole source before it reads; read it to let it finish.
            let _ = io::copy(&mut input.take(len), &mut io::sink());
            CompileResponse::Refused(Refusal {
                code: "LIMIT".to_owned(),
                message: format!(
                    "bytes of the source: {len}, where at most {max} are allowed \
                     (`source_bytes_max`)"
                ),
                offset: None,
            })
        }
        Err(error) => {
            let refused = CompileResponse::Refused(internal(error.to_string()));
            // The malformed request is the error to report, even if the parent no longer reads.
            let _ = write_response(output, &refused);
            return Err(WorkerError::Request(error));
        }
    };
    write_response(output, &answer).map_err(WorkerError::Response)
}

/// Compiles a request; a panic of the compiler becomes a refusal.
fn answer(job: &CompileRequest<'_>, bounds: &SourceLimits) -> CompileResponse {
    // Nothing that the closure uses is used after a panic.
    let outcome = catch_unwind(AssertUnwindSafe(|| compile(job, bounds)));
    match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => CompileResponse::Refused(Refusal {
            code: error.code().to_owned(),
            offset: error.offset(),
            message: chain(error),
        }),
        Err(panic) => CompileResponse::Refused(internal(format!(
            "the compiler panicked, which is a fault of ours: {}",
            panic_message(panic.as_ref())
        ))),
    }
}

fn compile(
    job: &CompileRequest<'_>,
    bounds: &SourceLimits,
) -> Result<CompileResponse, CompileError> {
    let compiler = Compiler::new(&job.profile, bounds.clone())?;
    if job.kind == SourceKind::Engine {
        let artifact = compiler.compile_engine(&job.source)?;
        return Ok(CompileResponse::Engine { artifact });
    }
    let Compiled {
        wasm,
        artifact,
        image,
        manifest,
        // The manifest tells the parent if a start function remains.
        preinit: _,
    } = compiler.compile_without_engine(&job.source, &job.engines)?;
    Ok(CompileResponse::Compiled {
        manifest: Box::new(manifest),
        source: wasm,
        artifact,
        image: image.unwrap_or_default(),
    })
}

fn internal(message: String) -> Refusal {
    Refusal {
        code: "INTERNAL".to_owned(),
        message,
        offset: None,
    }
}

/// Returns an error and its sources on one line.
fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", wasmtime::Error::new(error)).replace('\n', " ")
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
