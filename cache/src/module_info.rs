//! What the compiler found in a module, for those who will not parse it again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::depth::DepthPlan;
use crate::meter::MeterPlan;
use crate::rewind::Rewind;

/// What the compiler found in a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleInfo {
    /// The module's own name, from its name section.
    pub name: Option<String>,
    /// What the module imports, in its own order.
    pub imports: Vec<ImportInfo>,
    /// What the module exports, in its own order.
    pub exports: Vec<ExportInfo>,
    /// The exported functions that can be called from outside, in the module's order.
    pub entries: Vec<EntryInfo>,
    /// The linear memory, if the module has one.
    pub memory: Option<MemoryInfo>,
    /// Elements that the module's tables start with, all tables together.
    pub table_elements_min: u64,
    /// Functions that the module defines.
    pub functions: u32,
    /// Bytes in the module's code section.
    pub code_len: u64,
    /// Whether the module exports an initialiser that runs once before the first entry.
    pub initialize: bool,
    /// Whether the module has a start function.
    pub start: bool,
    /// Whether instances of it may be rewound between calls.
    pub rewind: Rewind,
    /// How it counts what it runs; none before it is compiled.
    #[serde(default)]
    pub meter: Option<MeterPlan>,
    /// How its calls are counted, where it was compiled so.
    #[serde(default)]
    pub stack_depth: Option<DepthPlan>,
}

/// A function that a module imports; nothing else can be imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportInfo {
    /// Name of the module it is imported from.
    pub module: String,
    /// Its name in there.
    pub name: String,
    /// Parameters and results that the importing module expects.
    pub signature: Signature,
}

/// Something that a module exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportInfo {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ExportKind,
}

/// What a module can export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportKind {
    /// A function with this signature.
    Function(Signature),
    /// A linear memory.
    Memory,
    /// A table.
    Table,
    /// A global.
    Global,
}

/// An exported function that can be called from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryInfo {
    /// Its name.
    pub name: String,
    /// How it takes its input and gives its reply.
    pub kind: EntryKind,
    /// Its parameters and results.
    pub signature: Signature,
}

/// How an entry takes its input and gives its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Numbers in, numbers out.
    Scalar,
    /// Input is pulled from the host, the reply pushed to it.
    Command,
    /// Input is written into guest memory, the reply read out of it.
    Buffer,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Command => "command",
            Self::Buffer => "buffer",
        })
    }
}

/// Parameters and results of a function, written `(i32, i32) -> i64`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Types of the parameters, in order.
    pub params: Vec<ValueType>,
    /// Types of the results, in order.
    pub results: Vec<ValueType>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tuple(f, &self.params)?;
        f.write_str(" -> ")?;
        match self.results.as_slice() {
            [only] => fmt::Display::fmt(only, f),
            results => write_tuple(f, results),
        }
    }
}

fn write_tuple(f: &mut fmt::Formatter<'_>, types: &[ValueType]) -> fmt::Result {
    f.write_str("(")?;
    for (index, ty) in types.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        fmt::Display::fmt(ty, f)?;
    }
    f.write_str(")")
}

/// A WebAssembly value type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// Reference to a function.
    FuncRef,
    /// Reference to something of the host's.
    ExternRef,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::V128 => "v128",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
        })
    }
}

/// A linear memory, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryInfo {
    /// Pages it starts with.
    pub min_pages: u64,
    /// Pages it may grow to, where the module says so.
    pub max_pages: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::{Signature, ValueType};

    #[test]
    fn signatures_read_like_the_text_format() {
        let text = |params: &[ValueType], results: &[ValueType]| {
            Signature {
                params: params.to_vec(),
                results: results.to_vec(),
            }
            .to_string()
        };
        assert_eq!(text(&[], &[]), "() -> ()");
        assert_eq!(
            text(&[ValueType::I32, ValueType::I32], &[ValueType::I64]),
            "(i32, i32) -> i64"
        );
        assert_eq!(
            text(&[ValueType::F64], &[ValueType::V128, ValueType::FuncRef]),
            "(f64) -> (v128, funcref)"
        );
    }
}
