//! Reads libraries of the scripting engine, and makes functions of them.

use std::sync::Arc;

use ferrite_runtime::Runtime;
use ferrite_runtime::artifact::source::Source;
use ferrite_runtime::error::CallError;
use ferrite_runtime::policy::limits::LimitSettings;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::registry::record::FunctionName;
use ferrite_runtime::service::LoadRequest;
use serde::Deserialize;

use crate::execution::job::EntryPoint;
use crate::transaction::ServerKeyspace;

/// The name in messages for a library without one.
const NAMELESS: &str = "run";

/// The line of JSON before a library's code.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// The name by which the main entry is called: the entry `run`, or the only one.
    name: Option<String>,
    description: Option<Box<str>>,
    permissions: Option<Permissions>,
    #[serde(default)]
    limits: LimitSettings,
    isolation: Option<String>,
}

/// One function of a library.
pub(crate) struct LibraryFunction {
    /// Its code and entry; or the reason why it cannot run, if it was restored from data and is refused now.
    entry_point: Result<Arc<EntryPoint>, CallError>,
    name: Box<str>,
}

impl LibraryFunction {
    pub(crate) fn entry_point(&self) -> Result<&Arc<EntryPoint>, &CallError> {
        self.entry_point.as_ref()
    }

    /// The name by which `FCALL` calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn description(&self) -> Option<&str> {
        let entry_point = self.entry_point.as_ref().ok()?;
        entry_point.code.spec().description.as_deref()
    }

    pub(crate) fn may_write(&self) -> bool {
        self.entry_point
            .as_ref()
            .is_ok_and(|entry_point| entry_point.code.spec().permissions.allow_write)
    }
}

/// Loads a library. Blocks while the code is compiled.
///
/// A library with a name that is `restored` from data and cannot be loaded, for instance because the key that signed
/// it is revoked, becomes a function that answers with the reason: an error would keep the server from
/// starting, or a replica from its primary's data.
pub(crate) fn load(
    runtime: &Runtime<ServerKeyspace>,
    code: &[u8],
    restored: bool,
) -> Result<Vec<LibraryFunction>, CallError> {
    let (header, source) = split(code)?;
    let name = header.name.clone();
    match (make(runtime, header, source, restored), name) {
        (Err(error), Some(name)) if restored => {
            tracing::warn!(function = name, %error, "a function of a library cannot be loaded");
            Ok(vec![LibraryFunction {
                entry_point: Err(error),
                name: name.into(),
            }])
        }
        (made, _) => made,
    }
}

fn make(
    runtime: &Runtime<ServerKeyspace>,
    header: Header,
    source: &[u8],
    restored: bool,
) -> Result<Vec<LibraryFunction>, CallError> {
    let options = &runtime.options().source;
    let source = if source.starts_with(b"(") || source.starts_with(b";;") {
        Source::for_define(source, options)?
    } else {
        Source::for_load(source, options)?
    };
    let isolation = header
        .isolation
        .map(|word| word.parse())
        .transpose()
        .map_err(
            |error: ferrite_runtime::policy::function_spec::UnknownIsolation| {
                CallError::invalid(error.to_string())
            },
        )?;
    let known_as = header.name.as_deref().unwrap_or(NAMELESS);
    let name = FunctionName::parse(known_as.as_bytes())
        .map_err(|error| CallError::invalid(error.to_string()))?;
    let code = runtime.load_held(LoadRequest {
        description: header.description,
        permissions: header.permissions,
        limits: header.limits,
        isolation,
        restored,
        ..LoadRequest::new(name, source)
    })?;
    let main = header.name.as_deref().and_then(|name| {
        let main = code.entry(None).ok()?;
        Some((main, name))
    });
    let functions = code
        .entries()
        .iter()
        .enumerate()
        .map(|(index, entry)| LibraryFunction {
            name: match main {
                Some((main, name)) if main == index => name.into(),
                _ => (&*entry.name).into(),
            },
            entry_point: Ok(Arc::new(EntryPoint {
                code: code.clone(),
                entry: entry.name.clone(),
            })),
        })
        .collect();
    Ok(functions)
}

/// Splits a library into the line of JSON, if there is one, and the code after it.
fn split(code: &[u8]) -> Result<(Header, &[u8]), CallError> {
    // The server passes the line break after `#!wasm name=…` too.
    let code = code.strip_prefix(b"\r").unwrap_or(code);
    let code = code.strip_prefix(b"\n").unwrap_or(code);
    if code.first() != Some(&b'{') {
        return Ok((Header::default(), trimmed(code)));
    }
    let end = code
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(code.len());
    let header = serde_json::from_slice(&code[..end]).map_err(|error| {
        CallError::invalid(format!(
            "the line of JSON before the library's code is wrong: {error}"
        ))
    })?;
    Ok((header, trimmed(code.get(end + 1..).unwrap_or_default())))
}

/// Trims text. A WebAssembly binary, which may end in any bytes, is returned as it is.
fn trimmed(code: &[u8]) -> &[u8] {
    if code.starts_with(ferrite_runtime::artifact::source::WASM_MAGIC) {
        code
    } else {
        code.trim_ascii()
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_library_is_code_with_or_without_a_line_before_it() {
        let wasm = b"\0asm\x01\0\0\0 \n";
        let (header, code) = split(&[b"\n", &wasm[..]].concat())
            .map(owned)
            .expect("code");
        assert_eq!((header, code), (None, wasm.to_vec()));
        let text = b"\r\n{\"name\":\"limit\",\"permissions\":{\"allow_write\":true}}\n (module)\n";
        let (header, code) = split(text).map(owned).expect("both");
        assert_eq!(
            (header.as_deref(), &*code),
            (Some("limit"), &b"(module)"[..])
        );
        for wrong in [
            "{\n(module)",
            "{\"nam\":1}\n(module)",
            "{\"limits\":{\"x\":1}}\n",
        ] {
            let error = split(wrong.as_bytes()).map(owned).expect_err(wrong);
            assert!(error.to_string().contains("line of JSON"), "{error}");
        }
    }

    fn owned((header, code): (super::Header, &[u8])) -> (Option<String>, Vec<u8>) {
        (header.name, code.to_vec())
    }
}
