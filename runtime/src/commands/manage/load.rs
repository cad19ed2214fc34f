//! `WASM.LOAD`: loads a function from a module.

use std::path::Path;

use crate::artifact::source::{Source, file_of};
use crate::commands::error::CommandError;
use crate::commands::grammar::options::Options;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, Scope};
use crate::error::CallError;
use crate::policy::function_config::FunctionConfig;
use crate::policy::function_spec::Isolation;
use crate::policy::limits::LimitSettings;
use crate::policy::permissions::Permissions;
use crate::registry::record::FunctionName;
use crate::service::{LoadRequest, Runtime};
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.LOAD",
    arity: -3,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Blocking,
    summary: "Loads a function from a module or a signed bundle: its bytes, their base64, blake3:<digest>, or a path in the module folder.",
    syntax: "name source [DESCRIPTION text] [PERMISSIONS word-or-json] [LIMITS json] [ISOLATION rewind|fresh|reuse] [CONFIG json] [REPLACE]",
    parse,
};

/// Forms of a source, as a command announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Form {
    /// The source that `WASM.LOAD` takes: a module, a digest, a path or a bundle.
    Any,
    /// WebAssembly's text format.
    Text,
    /// A program in JavaScript, one argument further on.
    JavaScript,
}

/// Request to load a function.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    pub(in crate::commands) name: FunctionName,
    pub(in crate::commands) source: &'a [u8],
    pub(in crate::commands) form: Form,
    pub(in crate::commands) description: Option<Box<str>>,
    pub(in crate::commands) permissions: Option<Permissions>,
    pub(in crate::commands) limits: LimitSettings,
    pub(in crate::commands) isolation: Option<Isolation>,
    pub(in crate::commands) config: Option<FunctionConfig>,
    pub(in crate::commands) replace: bool,
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    read(spec, argv, Form::Any).map(|load| Command::Load(Box::new(load)))
}

/// Parses the words that all loading commands share.
pub(in crate::commands) fn read<'a>(
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
    form: Form,
) -> Result<Load<'a>, CommandError> {
    const DESCRIPTION: &str = "DESCRIPTION";
    const PERMISSIONS: &str = "PERMISSIONS";
    const LIMITS: &str = "LIMITS";
    const ISOLATION: &str = "ISOLATION";
    const CONFIG: &str = "CONFIG";
    const REPLACE: &str = "REPLACE";
    const KNOWN: &[&str] = &[DESCRIPTION, PERMISSIONS, LIMITS, ISOLATION, CONFIG, REPLACE];

    let at = if form == Form::JavaScript { 3 } else { 2 };
    let mut options = Options::new(spec, argv, at + 1);
    let (mut description, mut permissions, mut limits, mut isolation) = (None, None, None, None);
    let (mut config, mut replace) = (None, false);
    while let Some(option) = options.next(KNOWN)? {
        match option {
            DESCRIPTION => options.value(option, &mut description)?,
            PERMISSIONS => options.value(option, &mut permissions)?,
            LIMITS => options.value(option, &mut limits)?,
            ISOLATION => options.value(option, &mut isolation)?,
            CONFIG => options.value(option, &mut config)?,
            _ => options.flag(option, &mut replace)?,
        }
    }
    let invalid = |error: &dyn std::fmt::Display| CallError::invalid(error.to_string());
    Ok(Load {
        name: FunctionName::parse(argv[1]).map_err(|error| invalid(&error))?,
        source: argv[at],
        form,
        description: description
            .map(|text| match str::from_utf8(text) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(CallError::invalid("the description is not UTF-8")),
            })
            .transpose()?,
        permissions: permissions
            .map(Permissions::from_option)
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
        config: config
            .map(FunctionConfig::from_json)
            .transpose()
            .map_err(|error| invalid(&error))?,
        replace,
    })
}

impl Load<'_> {
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        scope: Scope<'_>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let options = &runtime.options().source;
        let source = match self.form {
            Form::Any => Source::for_load(self.source, options)?,
            Form::Text => Source::for_define(self.source, options)?,
            Form::JavaScript => {
                let name = format!("{}.js", self.name.as_str());
                Source::for_program(self.source, &name, options)?
            }
        };
        let file = file_of(self.source)
            .filter(|_| self.form == Form::Any)
            .and_then(Path::to_str);
        let digest = runtime.load(LoadRequest {
            name: self.name,
            source,
            file: file.map(Into::into),
            description: self.description,
            permissions: self.permissions,
            limits: self.limits,
            isolation: self.isolation,
            config: self.config,
            replace: self.replace,
            restored: false,
            declarations: Some(scope.declarations()),
        })?;
        reply.bulk_display(&digest);
        Ok(())
    }
}
