//! Limits on the size and complexity of a source.

use ferrite_cache::TABLE_ELEMENTS_MAX;

/// Limits on the size and complexity of a source. Fields without a unit count wasm items.
///
/// The defaults leave room for whole language runtimes (a Go program has about ten thousand
/// functions; an interpreter compiled to wasm has function bodies of several hundred kilobytes) and
/// keep time and memory of a compilation in proportion to the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// Bytes of the binary module.
    pub source_bytes_max: u64,
    /// Bytes of a module in the text format, which takes up to eighty times its size to parse.
    pub text_bytes_max: u64,
    /// Entries of the type section.
    pub types_max: u32,
    /// Parameters of a function type, and also its results.
    pub type_params_max: u32,
    /// Imports.
    pub imports_max: u32,
    /// Exports.
    pub exports_max: u32,
    /// Bytes of all names of imports and exports together; the manifest stores them.
    pub names_bytes_max: u64,
    /// Functions that the module defines.
    pub functions_max: u32,
    /// Bytes of one function's body.
    pub function_body_bytes_max: u64,
    /// Locals of one function, its parameters included.
    pub function_locals_max: u32,
    /// Depth of nested blocks, loops and ifs.
    pub function_nesting_max: u32,
    /// Targets of one `br_table`, without its default.
    pub br_table_targets_max: u32,
    /// Tables.
    pub tables_max: u32,
    /// Initial elements of all tables together.
    pub table_elements_max: u64,
    /// Globals.
    pub globals_max: u32,
    /// Element segments.
    pub element_segments_max: u32,
    /// Items of all element segments together.
    pub element_items_max: u64,
    /// Data segments.
    pub data_segments_max: u32,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            source_bytes_max: 64 << 20,
            text_bytes_max: 8 << 20,
            types_max: 16_384,
            type_params_max: 256,
            imports_max: 1_024,
            exports_max: 8_192,
            names_bytes_max: 256 << 10,
            functions_max: 100_000,
            function_body_bytes_max: 2 << 20,
            function_locals_max: 20_000,
            function_nesting_max: 4_096,
            br_table_targets_max: 16_384,
            tables_max: 4,
            table_elements_max: u64::from(TABLE_ELEMENTS_MAX),
            globals_max: 10_000,
            element_segments_max: 10_000,
            element_items_max: 1_000_000,
            data_segments_max: 100_000,
        }
    }
}
