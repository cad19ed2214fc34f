//! Copies a module section by section and appends entries to some sections.
//!
//! All other bytes are copied unchanged, custom sections included, so indices and names stay valid.

use std::collections::BTreeMap;

use wasm_encoder::{ConstExpr, Encode, ExportKind, GlobalType, SectionId, ValType};
use wasmparser::{BinaryReader, Error, Parser};

/// Order of the sections in a module. Custom sections may be anywhere.
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

/// Length of magic and version at the start of a module, in bytes.
const PREAMBLE: usize = 8;

/// The custom section that says which branches are rarely taken.
pub(crate) const BRANCH_HINTS_SECTION: &str = "metadata.code.branch_hint";

/// A section of the source: its id, its content without the header, and the offset of the content.
pub(crate) struct Section<'a> {
    pub(crate) id: u8,
    pub(crate) content: &'a [u8],
    pub(crate) at: usize,
}

impl Section<'_> {
    /// Returns true if the section has this id.
    pub(crate) fn is(&self, id: SectionId) -> bool {
        self.id == id as u8
    }

    /// Returns true if it is the custom section of this name.
    pub(crate) fn is_custom(&self, name: &str) -> bool {
        let mut reader = BinaryReader::new(self.content, self.at);
        self.is(SectionId::Custom) && reader.read_string().is_ok_and(|found| found == name)
    }
}

/// A pass's decision about one section.
pub(crate) enum Replacement {
    /// Write this content and append nothing.
    Content(Vec<u8>),
    /// Write a whole custom section, and then this content.
    Preceded { by: Vec<u8>, content: Vec<u8> },
    /// Leave the section out.
    Omit,
    /// Copy the section and append the additions.
    Copy,
}

/// Entries to append to sections.
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

    /// Returns number and bytes of the entries to append to a section.
    pub(crate) fn of(&self, id: u8) -> (u32, &[u8]) {
        if id == SectionId::DataCount as u8 {
            // This section holds only the number of data segments.
            return (self.of(SectionId::Data as u8).0, &[]);
        }
        match self.0.get(&id) {
            Some((count, entries)) => (*count, entries),
            None => (0, &[]),
        }
    }

    /// Writes a section that the source lacks, if there are entries for it.
    fn create(&self, id: SectionId, out: &mut Vec<u8>) {
        let (count, entries) = self.of(id as u8);
        // A data count section is needed only if code refers to a data segment; then the source
        // has one.
        if count > 0 && id != SectionId::DataCount {
            let mut content = Vec::new();
            count.encode(&mut content);
            content.extend_from_slice(entries);
            write_section(id as u8, &content, out);
        }
    }

    /// Returns the content of a section with its additions appended.
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

/// Copies a valid module with `additions`. `replace` decides about each section; its second argument
/// is the offset that the section's header will have.
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
        // Insert sections that the source lacks and the additions need before the next section that
        // follows them in the order.
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
            Replacement::Preceded { by, content } => {
                out.extend_from_slice(&by);
                content
            }
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

/// Returns the offset of the content of a section whose header is at `at`.
pub(crate) fn content_start(at: usize, content_len: usize) -> usize {
    let mut size = Vec::new();
    content_len.encode(&mut size);
    at + 1 + size.len()
}
