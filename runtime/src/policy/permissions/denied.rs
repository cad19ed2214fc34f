//! A refused access and its error text.

use std::fmt;

use crate::error::{CallError, Code, Quoted};

/// A refused access: the key or command, and the rule. One word wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(Box<Refusal>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    /// The key or command, as the error shows it.
    subject: Box<str>,
    rule: Rule,
}

/// The rule by which an access is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The key matches a pattern in `denied_keys`.
    DeniedKey {
        /// The first pattern that matches.
        pattern: Box<[u8]>,
    },
    /// The key matches no pattern in `allowed_keys`.
    Key,
    /// The command is not in `allowed_commands`.
    Command,
    /// The command writes, and `allow_write` is false.
    Write,
    /// The command writes, and the call may only read, whatever the permissions say.
    ReadOnlyCall,
    /// The command concerns every key, and the function's keys are restricted.
    AllKeys,
    /// The command reaches into another database, and the function's keys are restricted.
    OtherDatabase,
    /// The command is run only if `allowed_commands` names it.
    NotNamed,
    /// It is unknown which keys the command accesses, and the function's keys are restricted.
    KeysUnknown,
    /// No rule in `allow_network` allows the request.
    Network,
}

impl Denied {
    pub(crate) fn new(subject: &[u8], rule: Rule) -> Self {
        Self(Box::new(Refusal {
            subject: Quoted(subject).to_string().into(),
            rule,
        }))
    }

    /// Returns the rule that refused it.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.0.rule
    }

    /// Returns true if it was refused only because it writes.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.0.rule, Rule::Write | Rule::ReadOnlyCall)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { subject, rule } = &*self.0;
        match rule {
            Rule::DeniedKey { pattern } => write!(
                out,
                "key {subject} is denied: it matches {} in denied_keys",
                Quoted(pattern)
            ),
            Rule::Key => write!(
                out,
                "key {subject} is not allowed: it matches nothing in allowed_keys"
            ),
            Rule::Command => write!(
                out,
                "command {subject} is not allowed: it is not in allowed_commands"
            ),
            Rule::Write => write!(
                out,
                "command {subject} writes, and the function may only read; load it with allow_write"
            ),
            Rule::ReadOnlyCall => write!(
                out,
                "command {subject} writes, and this call may only read; use WASM.CALL or FCALL on a primary"
            ),
            Rule::AllKeys => write!(
                out,
                "command {subject} concerns every key, and the function's keys are restricted; KEYS and SCAN show those that it may access"
            ),
            Rule::OtherDatabase => write!(
                out,
                "command {subject} reaches into another database, and the function's keys are restricted"
            ),
            Rule::NotNamed => write!(
                out,
                "command {subject} is run only for functions whose allowed_commands name it: it hands bytes of the function's to the server's own parser"
            ),
            Rule::KeysUnknown => write!(
                out,
                "command {subject} does not tell which keys it touches, and the function's keys are restricted"
            ),
            Rule::Network => write!(
                out,
                "request {subject} is not allowed: it matches nothing in allow_network"
            ),
        }
    }
}

impl std::error::Error for Denied {}

impl From<Denied> for CallError {
    fn from(denied: Denied) -> Self {
        Self::new(Code::NoPermission, denied.to_string())
    }
}
