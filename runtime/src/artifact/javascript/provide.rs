//! Provides the functions of programs in JavaScript, and the engine that evaluates them.

use std::time::Instant;

use ferrite_cache::bundle::KeyId;
use ferrite_cache::{CompiledModule, Digest, JavaScript, VerifiedArtifact};

use crate::artifact::compile_worker::{self, WorkerError};
use crate::artifact::{ArtifactProvider, Depth};
use crate::error::{CallError, Code};

impl ArtifactProvider {
    /// Returns true if a source is a program that is evaluated here. Without a cache there is no engine to do it
    /// on, and the worker compiles each program with an engine of its own.
    pub(in crate::artifact) fn evaluates(&self, source: &[u8]) -> bool {
        self.cache.is_some() && JavaScript::is(source) && !JavaScript::is_engine(source)
    }

    /// Evaluates a program that the cache does not have; `signed_by` is the key that signed it.
    pub(in crate::artifact) fn evaluate(
        &self,
        program: &[u8],
        signed_by: Option<KeyId>,
        depth: Depth,
    ) -> Result<CompiledModule, CallError> {
        let base = self.javascript_engine(depth)?;
        let _slot = self.compile_slots.wait();
        let started = Instant::now();
        let evaluated = self
            .evaluator
            .evaluate(program, &base, self.worker.time_max);
        self.stats
            .count_compiled(started.elapsed(), evaluated.is_ok());
        let mut evaluated = evaluated?;
        evaluated.manifest.signed_by = signed_by;
        Ok(evaluated)
    }

    /// Returns the engine: from the cache, or compiled if there is a compiler.
    fn javascript_engine(&self, depth: Depth) -> Result<VerifiedArtifact, CallError> {
        let source = JavaScript::engine();
        let digest = Digest::of(&source);
        let found = match self.lookup_among(&digest, self.candidates(depth)) {
            Some(found) => Ok(found),
            None => match compile_worker::find(self.worker.program.as_deref()) {
                Ok(_) => self.compile(Some(&digest), &source, None, depth),
                Err(WorkerError::Missing { reason }) => self
                    .lookup_instead(&digest, depth)
                    .ok_or_else(|| self.no_engine(&reason, depth)),
                Err(error) => Err(error.into()),
            },
        };
        let engine = found?.artifact;
        // Whoever signs a bundle answers for its own function, and not for those of others.
        if engine.manifest().signed_by.is_some() {
            return Err(self.no_engine("the one that it has came in a bundle", depth));
        }
        Ok(engine)
    }

    #[cold]
    fn no_engine(&self, reason: &str, depth: Depth) -> CallError {
        let root = self.cache.as_ref().map(|cache| cache.root().display());
        let root = root.map_or_else(String::new, |root| root.to_string());
        let counting = match depth {
            Depth::Counted => " --stack-depth",
            Depth::Free => "",
        };
        CallError::new(
            Code::NoArtifact,
            format!(
                "the cache {root} has no JavaScript engine to evaluate the program on, and {reason}; put it there where \
                 there is a compiler of this release: ferrite-wasmc engine javascript --cache {root}{counting}"
            ),
        )
    }
}
