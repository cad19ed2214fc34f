//! Checks for the compilers of the languages that functions are written in.

use super::{Check, Finding};
use crate::project::toolchain::{self, Missing, Tool};

/// Looks for a compiler for each language.
pub(super) fn all() -> Vec<Check> {
    let check = |name, found: Result<Tool, Missing>| Check {
        name,
        finding: match found {
            Ok(tool) => Finding::Ok {
                detail: tool.version,
            },
            Err(missing) => Finding::Missing {
                remedy: missing.remedy,
            },
        },
    };
    vec![
        check("rust", toolchain::rustc()),
        check("c", toolchain::c()),
        check("go", toolchain::go()),
        check("typescript", toolchain::npm()),
        Check {
            name: "javascript",
            finding: Finding::Ok {
                detail: format!(
                    "part of this program: {}",
                    ferrite_cache::javascript::JAVASCRIPT_ENGINE
                ),
            },
        },
        check("assemblyscript", toolchain::npm()),
        check("python", toolchain::python()),
    ]
}
