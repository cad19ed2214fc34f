//! `WASM.LOAD`: loads a function from a module.

use std::path::Path;

use super::Command;
use super::error::CommandError;
use super::options::Options;
use super::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::keyspace::Keyspace;
use crate::limits::LimitSettings;
use crate::permissions::Permissions;
use crate::record::FunctionName;
use crate::resp::Encoder;
use crate::runtime::{LoadRequest, Runtime};
use crate::source::{Source, file_of};
use crate::spec::Isolation;

pub(super) static SPEC: Spec = Spec {
    name: "WASM.LOAD",
    arity: -3,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Blocking,
    summary: "Loads a function from a module or a signed bundle: its bytes, their base64, blake3:<digest>, or a path in the module folder.",
    syntax: "name source [DESCRIPTION text] [PERMISSIONS json] [LIMITS json] [ISOLATION rewind|fresh|reuse] [REPLACE]",
    parse,
};

/// A function to be loaded.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    pub(super) name: FunctionName,
    pub(super) source: &'a [u8],
    /// Whether `source` is the text format itself.
    pub(super) text: bool,
    pub(super) description: Option<Box<str>>,
    pub(super) permissions: Option<Permissions>,
    pub(super) limits: LimitSettings,
    pub(super) isolation: Option<Isolation>,
    pub(super) replace: bool,
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    read(spec, argv, false).map(|load| Command::Load(Box::new(load)))
}

/// Reads what every command that loads takes.
pub(super) fn read<'a>(
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
    text: bool,
) -> Result<Load<'a>, CommandError> {
    const DESCRIPTION: &str = "DESCRIPTION";
    const PERMISSIONS: &str = "PERMISSIONS";
    const LIMITS: &str = "LIMITS";
    const ISOLATION: &str = "ISOLATION";
    const REPLACE: &str = "REPLACE";

    let mut options = Options::new(spec, argv, 3);
    let (mut description, mut permissions, mut limits, mut isolation) = (None, None, None, None);
    let mut replace = false;
    while let Some(option) =
        options.next(&[DESCRIPTION, PERMISSIONS, LIMITS, ISOLATION, REPLACE])?
    {
        match option {
            DESCRIPTION => options.value(option, &mut description)?,
            PERMISSIONS => options.value(option, &mut permissions)?,
            LIMITS => options.value(option, &mut limits)?,
            ISOLATION => options.value(option, &mut isolation)?,
            _ => options.flag(option, &mut replace)?,
        }
    }
    let invalid = |error: &dyn std::fmt::Display| CallError::invalid(error.to_string());
    Ok(Load {
        name: FunctionName::parse(argv[1]).map_err(|error| invalid(&error))?,
        source: argv[2],
        text,
        description: description
            .map(|text| match str::from_utf8(text) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(CallError::invalid("the description is not UTF-8")),
            })
            .transpose()?,
        permissions: permissions
            .map(Permissions::from_json)
            .transpose()
            .map_err(|error| invalid(&error))?,
        limits: limits
            .map(LimitSettings::from_json)
            .transpose()
            .map_err(|error| invalid(&error))?
            .unwrap_or_default(),
        isolation: isolation
            .map(|word| String::from_utf8_lossy(word).parse())
            .transpose()
            .map_err(|error| invalid(&error))?,
        replace,
    })
}

impl Load<'_> {
    pub(super) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let options = &runtime.options().source;
        let source = if self.text {
            Source::for_define(self.source, options)?
        } else {
            Source::for_load(self.source, options)?
        };
        let file = file_of(self.source)
            .filter(|_| !self.text)
            .and_then(Path::to_str);
        let digest = runtime.load(LoadRequest {
            name: self.name,
            source,
            file: file.map(Into::into),
            description: self.description,
            permissions: self.permissions,
            limits: self.limits,
            isolation: self.isolation,
            replace: self.replace,
        })?;
        reply.bulk_display(&digest);
        Ok(())
    }
}
