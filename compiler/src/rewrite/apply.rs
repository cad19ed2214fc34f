//! Writes the rewritten module.

use std::borrow::Cow;

use ferrite_cache::{OffsetShift, Rewind, RewindPlan};
use wasm_encoder::{Encode, ExportKind, SectionId};
use wasmparser::Error;

use super::Rewritten;
use super::data::DataSection;
use super::plan::{Plan, RESERVED_PREFIX};
use crate::sections::{Additions, Replacement, Section, content_start, copy};

/// Applies `plan` to `wasm`.
pub(super) fn apply<'a>(wasm: &'a [u8], plan: &Plan<'_>) -> Result<Rewritten<'a>, Error> {
    let rewind = |offsets| {
        Rewind::Allowed(RewindPlan {
            globals: plan.mutable_globals.len() as u32,
            start: plan.start.is_some(),
            offsets,
        })
    };
    if plan.mutable_globals.is_empty() && plan.start.is_none() && plan.memory_pages.is_none() {
        return Ok(Rewritten {
            wasm: Cow::Borrowed(wasm),
            rewind: rewind(Vec::new()),
        });
    }

    let mut additions = Additions::default();
    for (ordinal, &index) in plan.mutable_globals.iter().enumerate() {
        let name = format!("{RESERVED_PREFIX}global_{ordinal}");
        additions.export(&name, ExportKind::Global, index);
    }
    if plan.memory_pages.is_some() {
        // In addition to the module's own export of it, if any.
        additions.export(&format!("{RESERVED_PREFIX}memory"), ExportKind::Memory, 0);
    }
    if let Some(start) = plan.start {
        let name = format!("{RESERVED_PREFIX}start");
        additions.export(&name, ExportKind::Func, start);
    }
    let data = plan.joined_data();

    let mut offsets = Vec::new();
    let bytes = copy(wasm, &additions, |section, at| {
        if section.is(SectionId::Start) {
            // The function is exported instead.
            return Ok(Replacement::Omit);
        }
        if section.is(SectionId::Code) {
            let start = content_start(at, section.content.len());
            if start != section.at {
                offsets.push(OffsetShift {
                    from: start as u64,
                    back: section.at as i64 - start as i64,
                });
            }
        }
        Ok(data
            .as_ref()
            .map_or(Replacement::Copy, |data| in_place_of(section, data)))
    })?;
    Ok(Rewritten {
        wasm: Cow::Owned(bytes),
        rewind: rewind(offsets),
    })
}

/// Joins the data segments of `wasm` as `plan` says, and changes nothing else.
pub(super) fn join_data<'a>(wasm: &'a [u8], plan: &Plan<'_>) -> Result<Cow<'a, [u8]>, Error> {
    let Some(data) = plan.joined_data() else {
        return Ok(Cow::Borrowed(wasm));
    };
    let bytes = copy(wasm, &Additions::default(), |section, _| {
        Ok(in_place_of(section, &data))
    })?;
    Ok(Cow::Owned(bytes))
}

/// Replacement of a section where the module gets this data.
fn in_place_of(section: &Section<'_>, data: &DataSection) -> Replacement {
    if section.is(SectionId::DataCount) {
        let mut content = Vec::new();
        data.count.encode(&mut content);
        Replacement::Content(content)
    } else if section.is(SectionId::Data) {
        Replacement::Content(data.content.clone())
    } else {
        Replacement::Copy
    }
}
