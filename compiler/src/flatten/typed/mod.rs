//! Entries that are functions of types of their own: `func(date: string, most: u32) -> list<stat>`.
//!
//! The words of a call, its keys and then its arguments, are read as the parameters, and the result becomes the
//! reply. The code for that follows from the types, so it is generated for each entry; what all have in common is in
//! the adapter (`typed.h`).
//!
//! `layout` knows where values lie in memory; `words` writes the code that reads parameters, `reply` that which
//! writes replies.

mod layout;
mod reply;
mod words;

use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, ValType};

use super::resolve::Lifted;
use super::types::Type;
use words::Param;

/// Most parameters, and parts of them, that are passed as values and not in memory.
const FLAT_PARAMS_MAX: usize = 16;

/// An entry with types of its own.
#[derive(Clone)]
pub(super) struct Typed {
    params: Vec<(String, Param)>,
    result: Option<Type>,
    /// The parameters as a message shows them.
    usage: String,
}

/// Declares the adapter's functions that typed entries call.
macro_rules! helpers {
    ($($helper:ident = $name:literal,)+) => {
        /// A function of the adapter that typed entries call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Helper {
            $($helper,)+
        }

        /// Names of the adapter's functions that typed entries call.
        pub(super) const ADAPTER: &[&str] = &[$($name,)+];
    };
}

helpers! {
    Count = "typed#count",
    Scratch = "typed#scratch",
    Lists = "typed#lists",
    Bytes = "typed#bytes",
    Boolean = "typed#boolean",
    Integer = "typed#integer",
    Integers = "typed#integers",
    ReplyNull = "typed#reply-null",
    ReplyBool = "typed#reply-bool",
    ReplyInteger = "typed#reply-integer",
    ReplyDouble = "typed#reply-double",
    ReplyBulk = "typed#reply-bulk",
    ReplyError = "typed#reply-error",
    ReplyArray = "typed#reply-array",
    ReplyMap = "typed#reply-map",
    ReplyUnsigned = "typed#reply-unsigned",
    ReplyChar = "typed#reply-char",
}

/// Indices of the functions that the generated code calls.
pub(super) struct TypedCalls {
    /// The exported function.
    pub(super) function: u32,
    /// Frees a result after it was read.
    pub(super) post_return: Option<u32>,
    /// Those of the adapter, in the order of [`ADAPTER`].
    pub(super) adapter: Vec<u32>,
}

impl Typed {
    /// Returns how words are read for a function and its result is written, or why they cannot be.
    pub(super) fn of(lifted: &Lifted<'_>) -> Result<Self, String> {
        let ty = &lifted.ty;
        let mut params = Vec::with_capacity(ty.params.len());
        let mut may_be_missing = false;
        for (index, (name, ty)) in lifted.ty.params.iter().enumerate() {
            let takes = |problem: &str| Err(format!("takes `{name}: {ty}`, {problem}"));
            let Some(param) = Param::of(ty) else {
                return takes("and no words are read as that");
            };
            if param.is_rest() && index + 1 < lifted.ty.params.len() {
                return takes("and a list of words must come last");
            }
            if may_be_missing && !param.is_optional() && !param.is_rest() {
                return takes("after a parameter that may be missing");
            }
            may_be_missing |= param.is_optional();
            params.push((name.clone(), param));
        }
        let flat: usize = params.iter().map(|(_, param)| param.flat().len()).sum();
        if flat > FLAT_PARAMS_MAX {
            return Err(format!(
                "takes {flat} values, where at most {FLAT_PARAMS_MAX} are passed"
            ));
        }
        if let Some(result) = &ty.result
            && let Some(part) = reply::unsupported(result, 0)
        {
            return Err(format!(
                "returns `{result}`, of which {part} cannot be a reply"
            ));
        }
        let shown = ty.params.iter().map(|(name, ty)| format!("{name}: {ty}"));
        let shown: Vec<String> = shown.collect();
        Ok(Self {
            params,
            result: ty.result.clone(),
            usage: format!("({})", shown.join(", ")),
        })
    }

    /// Writes the function that a host calls for the entry `name`.
    pub(super) fn body(&self, name: &str, calls: &TypedCalls) -> Function {
        let mut writer = Writer {
            bytes: Vec::new(),
            locals: Vec::new(),
            calls,
        };
        let params = words::read(&mut writer, name, self);
        for param in params {
            writer.code().local_get(param);
        }
        writer.code().call(calls.function);
        reply::write(&mut writer, self.result.as_ref());
        writer.code().end();
        let Writer { bytes, locals, .. } = writer;
        let mut function = Function::new_with_locals_types(locals);
        function.raw(bytes);
        function
    }
}

/// Code of a function that is being written.
struct Writer<'c> {
    bytes: Vec<u8>,
    locals: Vec<ValType>,
    calls: &'c TypedCalls,
}

impl Writer<'_> {
    fn code(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.bytes)
    }

    /// Declares a local, which is zero at first.
    fn local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        self.locals.len() as u32 - 1
    }

    fn call(&mut self, helper: Helper) {
        let function = self.calls.adapter[helper as usize];
        self.code().call(function);
    }

    /// Writes a constant text into the buffer, and leaves its address and length.
    fn text(&mut self, text: &str) {
        let at = self.local(ValType::I32);
        let len = text.len().next_multiple_of(8) as i32;
        self.code().i32_const(len);
        self.call(Helper::Scratch);
        self.code().local_set(at);
        for (number, bytes) in text.as_bytes().chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.code()
                .local_get(at)
                .i64_const(i64::from_le_bytes(word))
                .i64_store(access(number as u32 * 8));
        }
        self.code().local_get(at).i32_const(text.len() as i32);
    }

    /// Replies with an error and ends the call, if the value on the stack is not zero.
    fn refuse_if(&mut self, text: &str) {
        self.code().if_(BlockType::Empty);
        self.text(text);
        self.call(Helper::ReplyError);
        self.code().return_().end();
    }
}

/// An access at an offset from an address. Alignment is only a hint.
fn access(offset: u32) -> MemArg {
    MemArg {
        offset: offset.into(),
        align: 0,
        memory_index: 0,
    }
}
