//! Separates a module into an engine, which others may share, and an image.
//!
//! All programs on one interpreter are the same code with another memory. This pass takes out of the finished
//! module what differs, so that the code is compiled once for all of them:
//!
//! - the data, the size of the memory, and the start values of the globals that calls can change become the
//!   [image](ferrite_cache::Image);
//! - entries get the same names in every engine, and other exports that no host uses are left out;
//! - custom sections are left out, except for names of functions, hints about branches, and the engine's
//!   [base](ferrite_cache::engine_base), if it has one.
//!
//! Nothing that the module does changes. Its instances are made by mapping the image instead of copying data,
//! which serves modules of any language whose data are large. Those of others stay as they are: to copy little is
//! faster than to map it.
//!
//! `facts` reads the module; `engine` writes it without what the image holds.

mod engine;
mod facts;

use std::ops::Range;

use ferrite_cache::{
    Digest, IMAGE_PAGE_BYTES, ImageInfo, ImagePages, ModuleInfo, Rewind, engine_base,
};
use wasm_encoder::{CustomSection, Encode as _, Section as _};
use wasmparser::{BinaryReader, CustomSectionReader, Error, Parser, Payload};

use facts::Facts;

/// Fewest bytes of pages for which an image is made, where code is not made to be shared.
///
/// An instance that maps an image takes about as long as one that copies this much.
const IMAGE_BYTES_MIN: usize = 128 << 10;

/// A module in two parts.
pub(crate) struct Split {
    /// The module to compile.
    pub(crate) engine: Vec<u8>,
    /// The encoded image.
    pub(crate) image: Vec<u8>,
    /// Describes both.
    pub(crate) info: ImageInfo,
}

/// Separates a finished module, which `module` describes. Returns `None` if it stays whole.
///
/// # Errors
///
/// The module is malformed.
pub(crate) fn split(wasm: &[u8], module: &ModuleInfo) -> Result<Option<Split>, Error> {
    let Rewind::Allowed(plan) = &module.rewind else {
        return Ok(None);
    };
    let Some(facts) = Facts::read(wasm, plan.globals)? else {
        return Ok(None);
    };
    let Some(pages) = ImagePages::of(&facts.data, facts.memory_pages) else {
        return Ok(None);
    };
    if pages.count() * IMAGE_PAGE_BYTES < IMAGE_BYTES_MIN && !facts.is_made_to_share() {
        return Ok(None);
    }
    let Some(entries) = facts.entries(module) else {
        return Ok(None);
    };
    let engine::Engine { wasm: engine, back } = engine::write(wasm, &facts, &entries)?;
    let made = pages.image(
        Digest::of(&engine),
        facts.base,
        facts.memory_pages,
        facts.globals,
        back,
        entries.numbers,
    );
    // The base fits: it was applied when it was read.
    let made = made.unwrap_or_default();
    Ok(made.map(|(info, image)| Split {
        engine,
        image,
        info,
    }))
}

/// Returns the base of a valid module that is an engine.
pub(crate) fn base_of(engine: &[u8]) -> Option<&[u8]> {
    let payloads = Parser::new(0).parse_all(engine).map_while(Result::ok);
    payloads
        .filter_map(|payload| match payload {
            Payload::CustomSection(section) => Some(section),
            _ => None,
        })
        .find(|section| section.name() == engine_base::BASE_SECTION)
        .map(|section| section.data())
}

/// The custom section in which a pass says which functions are there for entries, used or not.
const ENTRY_FUNCTIONS_SECTION: &str = "ferrite:entry-functions";

/// Functions for entries. A program uses some of them; its engine exports all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryFunctions {
    /// Index of the first.
    pub(crate) first: u32,
    /// Their number.
    pub(crate) count: u32,
}

impl EntryFunctions {
    /// Appends the section to a module.
    pub(crate) fn append_to(self, module: &mut Vec<u8>) {
        let Self { first, count } = self;
        let mut data = Vec::new();
        first.encode(&mut data);
        count.encode(&mut data);
        let section = CustomSection {
            name: ENTRY_FUNCTIONS_SECTION.into(),
            data: data.into(),
        };
        section.append_to(module);
    }

    /// Returns the indices.
    pub(crate) fn indices(self) -> Range<u32> {
        self.first..self.first + self.count
    }

    /// Reads the section; `None` for another section. A malformed one is as if there were none.
    pub(crate) fn of_section(section: &CustomSectionReader<'_>) -> Option<Self> {
        /// More than any pass makes.
        const COUNT_MAX: u32 = 1 << 16;
        if section.name() != ENTRY_FUNCTIONS_SECTION {
            return None;
        }
        let mut reader = BinaryReader::new(section.data(), 0);
        let first = reader.read_var_u32().ok()?;
        let count = reader.read_var_u32().ok()?;
        (reader.eof() && count <= COUNT_MAX && first.checked_add(count).is_some())
            .then_some(Self { first, count })
    }
}
