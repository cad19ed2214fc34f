//! The compiler's description of a module, so that hosts need not parse it again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::automation::Automation;
use crate::depth::DepthPlan;
use crate::meter::MeterPlan;
use crate::rewind::Rewind;

/// The compiler's description of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleInfo {
    /// Name of the module, from its name section.
    pub name: Option<String>,
    /// Imports, in the module's order.
    pub imports: Vec<ImportInfo>,
    /// Exports, in the module's order.
    pub exports: Vec<ExportInfo>,
    /// Exported functions that a client can call, in the module's order.
    pub entries: Vec<EntryInfo>,
    /// The linear memory, if the module has one.
    pub memory: Option<MemoryInfo>,
    /// Initial elements of all tables together.
    pub table_elements_min: u64,
    /// Number of functions that the module defines.
    pub functions: u32,
    /// Length of the code section, in bytes.
    pub code_len: u64,
    /// True if the module exports an initialiser, which runs once before the first entry.
    pub initialize: bool,
    /// True if the module has a start function.
    pub start: bool,
    /// The decision if instances may be rewound between calls.
    pub rewind: Rewind,
    /// Additions of the metering pass; `None` before the module is compiled.
    #[serde(default)]
    pub meter: Option<MeterPlan>,
    /// Additions to count the call depth; `None` if the module was compiled without counting.
    #[serde(default)]
    pub stack_depth: Option<DepthPlan>,
    /// Triggers and schedules that the module declares.
    #[serde(default)]
    pub automation: Automation,
    /// Limits that calls of the module need, in JSON as the option `LIMITS` takes them. A host gives them to a
    /// function that says nothing, where its own defaults are lower.
    #[serde(default)]
    pub limits: Option<String>,
}

/// Name of the custom section with [`ModuleInfo::limits`].
pub const LIMITS_SECTION: &str = "ferrite.limits";

/// The longest such section, in bytes.
pub const LIMITS_BYTES_MAX: usize = 1024;

/// An imported function. A module can import nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportInfo {
    /// Module name of the import.
    pub module: String,
    /// Field name of the import.
    pub name: String,
    /// Signature that the importing module expects.
    pub signature: Signature,
}

/// An export of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportInfo {
    /// Name of the export.
    pub name: String,
    /// Kind of the export.
    pub kind: ExportKind,
}

/// Kind of an export.
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

/// An exported function that a client can call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryInfo {
    /// Name of the entry.
    pub name: String,
    /// Way in which the entry takes its input and gives its reply.
    pub kind: EntryKind,
    /// Parameters and results.
    pub signature: Signature,
}

/// Way in which an entry takes its input and gives its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Numbers in, numbers out.
    Scalar,
    /// The guest pulls its input from the host and pushes its reply.
    Command,
    /// The host writes the input into guest memory and reads the reply from it.
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
    /// Reference to a value of the host.
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

/// Bytes in a page of a linear memory.
pub const WASM_PAGE_BYTES: u64 = 65_536;

/// Most elements that the tables of a module may have, at the start and after growth.
pub const TABLE_ELEMENTS_MAX: u32 = 100_000;

/// A linear memory, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryInfo {
    /// Initial pages.
    pub min_pages: u64,
    /// Most pages it may grow to, if the module declares a maximum.
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
