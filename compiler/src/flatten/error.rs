//! Why a component cannot be flattened.

use thiserror::Error;

/// A component is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FlattenError {
    /// The component does not follow the specification, or uses a proposal that is off.
    #[error("not a valid component: {message} (at offset {offset:#x})")]
    Malformed {
        /// Message of the validator.
        message: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The component exceeds a limit.
    #[error("{what}: {found}, where at most {max} are allowed (`{bound}`)")]
    LimitExceeded {
        /// The measured quantity, with its unit.
        what: &'static str,
        /// Name of the limit.
        bound: &'static str,
        /// The measured value.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// Core instances have memories of their own.
    #[error(
        "{second} has a memory of its own beside that of {first}, and only core modules that share \
         one memory become one module; do not compose components, and link libraries into one \
         program"
    )]
    SeveralMemories {
        /// The instance that defines the first memory.
        first: String,
        /// The instance that defines another.
        second: String,
    },
    /// One inner component calls another.
    #[error(
        "it is composed: an inner component calls the function of {callee}, and values would have \
         to be copied between them; build one component, or load the parts as functions that call \
         each other"
    )]
    Composed {
        /// The instance whose function is called.
        callee: String,
    },
    /// A function uses the asynchronous ABI.
    #[error(
        "{what} is asynchronous, and calls run to their end; build it for WASI 0.2, without async"
    )]
    Asynchronous {
        /// The function.
        what: String,
    },
    /// The component defines resources.
    #[error(
        "it defines a resource (at offset {offset:#x}), and handles would outlive the call; export \
         functions that take and return values"
    )]
    Resource {
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The component serves HTTP, or calls a component that does.
    #[error(
        "it {what}, and no server hands HTTP requests to functions; export a function that clients \
         call, and make requests by `wasi:http/outgoing-handler`"
    )]
    IncomingHandler {
        /// Says that it exports or imports the interface, with its name.
        what: String,
    },
    /// A part of the component model that is not supported.
    #[error("it uses {what}, which is not supported; {remedy}")]
    Unsupported {
        /// The part.
        what: String,
        /// Advice to build without it.
        remedy: &'static str,
    },
    /// The component imports an interface that no host offers.
    #[error(
        "unknown import `{import}`: the hosts offer `ferrite:function/data@0.1.0`, \
         `ferrite:function/host@0.1.0`, `ferrite:function/network@0.1.0`, `wasi:keyvalue`, `wasi:config` and `wasi:logging` \
         in their drafts, and WASI 0.2, `wasi:http` included"
    )]
    UnknownImport {
        /// Interface and function.
        import: String,
    },
    /// The component imports a function with another type than the host's.
    #[error(
        "the types of import `{import}` are other ones than the host's; take the interface from the \
         WIT of this version"
    )]
    ImportSignature {
        /// Interface and function.
        import: String,
    },
    /// Two functions would be entries of the same name, or a name is reserved.
    #[error("two exports would be the entry `{name}`; give one of them another name")]
    SameEntry {
        /// The name.
        name: String,
    },
    /// No export is an entry.
    #[error(
        "no entry: the component exports no function that can be called{seen}; an entry takes words, as \
         `docs/components.md` says, or is `func(input: input) -> result<list<item>, string>` with the types of \
         `ferrite:function/types@0.1.0`"
    )]
    NoEntry {
        /// Exported functions that are no entries, with the reasons.
        seen: String,
    },
}

impl FlattenError {
    /// Returns the offset of the fault in the source, in bytes, if it has a single position.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match *self {
            Self::Malformed { offset, .. } | Self::Resource { offset } => Some(offset),
            _ => None,
        }
    }

    /// Returns the error code for replies: `INVALID` or `LIMIT`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::LimitExceeded { .. } => "LIMIT",
            _ => "INVALID",
        }
    }
}

impl From<wasmparser::Error> for FlattenError {
    fn from(error: wasmparser::Error) -> Self {
        Self::Malformed {
            message: error.message().to_owned(),
            offset: error.offset() as u64,
        }
    }
}
