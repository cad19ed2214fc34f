//! Copying a module section by section, with entries put at the end of some.
//!
//! Every byte that a rewriting pass need not change is copied, custom sections included, so that
//! indices and names stay what they were.

use std::collections::BTreeMap;

use wasm_encoder::{ConstExpr, Encode, ExportKind, GlobalType, SectionId, ValType};
use wasmparser::{BinaryReader, Error, Parser};

/// The order in which sections stand in a module; custom ones stand anywhere.
const ORDER: [SectionId; 12] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Global,
    SectionId::Export,
    SectionId::Start,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

/// Bytes of the magic and the version that a module begins with.
const PREAMBLE: usize = 8;

/// A section of the source: its id, its content without the header, and where that begins.
pub(crate) struct Section<'a> {
    pub(crate) id: u8,
    pub(crate) content: &'a [u8],
    pub(crate) at: usize,
}

impl Section<'_> {
    /// Whether it is the section of this kind.
    pub(crate) fn is(&self, id: SectionId) -> bool {
        self.id == id as u8
    }
}

/// What a pass makes of a section itself.
pub(crate) enum Replacement {
    /// This content, to which nothing is added.
    Content(Vec<u8>),
    /// No section at all.
    Omit,
    /// Nothing: it is copied, and what is to be added goes to its end.
    Copy,
}

/// Entries that go to the end of sections.
#[derive(Default)]
pub(crate) struct Additions(BTreeMap<u8, (u32, Vec<u8>)>);

impl Additions {
    /// Adds one entry to a section.
    pub(crate) fn add(&mut self, id: SectionId, write: impl FnOnce(&mut Vec<u8>)) {
        let (count, entries) = self.0.entry(id as u8).or_default();
        *count += 1;
        write(entries);
    }

    /// Adds an export.
    pub(crate) fn export(&mut self, name: &str, kind: ExportKind, index: u32) {
        self.add(SectionId::Export, |out| {
            name.encode(out);
            kind.encode(out);
            index.encode(out);
        });
    }

    /// Adds a mutable global of type `i32`.
    pub(crate) fn mutable_i32(&mut self, value: i32) {
        self.add(SectionId::Global, |out| {
            let ty = GlobalType {
                val_type: ValType::I32,
                mutable: true,
                shared: false,
            };
            ty.encode(out);
            ConstExpr::i32_const(value).encode(out);
        });
    }

    /// How many entries go to the end of a section, and their bytes.
    pub(crate) fn of(&self, id: u8) -> (u32, &[u8]) {
        if id == SectionId::DataCount as u8 {
            // The section holds the number of data segments and nothing else.
            return (self.of(SectionId::Data as u8).0, &[]);
        }
        match self.0.get(&id) {
            Some((count, entries)) => (*count, entries),
            None => (0, &[]),
        }
    }

    /// Writes a section that the source does not have, if anything is to go into it.
    fn create(&self, id: SectionId, out: &mut Vec<u8>) {
        let (count, entries) = self.of(id as u8);
        // Only data segments need a section that counts them, and only where code names one.
        if count > 0 && id != SectionId::DataCount {
            let mut content = Vec::new();
            count.encode(&mut content);
            content.extend_from_slice(entries);
            write_section(id as u8, &content, out);
        }
    }

    /// A section's content with what is added to it.
    fn appended(&self, section: &Section<'_>) -> Result<Vec<u8>, Error> {
        let (count, entries) = self.of(section.id);
        if count == 0 {
            return Ok(section.content.to_vec());
        }
        let mut reader = BinaryReader::new(section.content, section.at);
        let before = reader.read_var_u32()?;
        let mut content = Vec::new();
        (before + count).encode(&mut content);
        content.extend_from_slice(&section.content[reader.original_position() - section.at..]);
        content.extend_from_slice(entries);
        Ok(content)
    }
}

/// Copies a valid module. `own` may give a section another content; it is told where the section's
/// header will stand.
pub(crate) fn copy(
    wasm: &[u8],
    additions: &Additions,
    mut replace: impl FnMut(&Section<'_>, usize) -> Result<Replacement, Error>,
) -> Result<Vec<u8>, Error> {
    let mut out = wasm[..PREAMBLE].to_vec();
    let mut missing = ORDER.iter().copied().peekable();
    for payload in Parser::new(0).parse_all(wasm) {
        let Some((id, range)) = payload?.as_section() else {
            continue;
        };
        let section = Section {
            id,
            at: range.start,
            content: &wasm[range],
        };
        // Sections that the source lacks and the additions need come before the next one that has
        // a place in the order.
        if let Some(place) = ORDER.iter().position(|&id| section.is(id)) {
            while let Some(id) =
                missing.next_if(|&id| ORDER.iter().position(|&other| other == id) < Some(place))
            {
                additions.create(id, &mut out);
            }
            missing.next();
        }
        let content = match replace(&section, out.len())? {
            Replacement::Content(content) => content,
            Replacement::Omit => continue,
            Replacement::Copy => additions.appended(&section)?,
        };
        write_section(section.id, &content, &mut out);
    }
    for id in missing {
        additions.create(id, &mut out);
    }
    Ok(out)
}

fn write_section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    content.encode(out);
}

/// Where the content of a section begins whose header stands at `at`.
pub(crate) fn content_start(at: usize, content_len: usize) -> usize {
    let mut size = Vec::new();
    content_len.encode(&mut size);
    at + 1 + size.len()
}
