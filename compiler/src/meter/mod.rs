//! The metering pass: makes a module count the units that it runs, and ask its host at the end of a
//! slice.
//!
//! The pass adds one mutable global, the *fuel* left of the current slice, and one function that
//! calls the host when the fuel is negative. The host then refills the global and returns, yields
//! to other calls, or ends the guest. Limits on instructions and on time, kills and fair turns all
//! use this one mechanism; wasmtime's own fuel and epochs are off.
//!
//! ```text
//! $fuel = $fuel - units
//! if $fuel < 0: call $slice_is_over       where the code looks at the fuel
//! ```
//!
//! A unit is one instruction, or one entry into a function. Instructions that only give structure
//! (`block`, `end`, `nop` …) are free. Instructions on ranges (`memory.copy`, `table.fill` …) pay
//! by length, in functions that the pass adds and that process long ranges in pieces.
//!
//! # Where units are paid
//!
//! - A **loop** pays at its head, so once per iteration.
//! - A **function** pays at its entry. One without loops whose cost is about the same on all paths is
//!   paid by its callers instead, as a constant, so it has no charge at all.
//! - Code is paid with what always runs before it: the dearest way that may be taken from there, as long as
//!   that is at most 32 units more than the others, or at most doubles the charge. Code that makes a larger
//!   difference pays for itself where it begins. Code that all ways come by, such as that after an `if`,
//!   is paid with what comes before it, whatever it costs.
//!
//! # Where the code looks at the fuel
//!
//! - At the head of every loop.
//! - At the entry of functions that are chosen so that each way from a function back to itself leads through
//!   one of them, be it by calls of references: a reference may lead to each function of its type that the
//!   module refers to. Either all of those look, or all that call the reference.
//! - At the entry of functions in which more than 4,096 units may run until they look.
//! - Before more than 16,384 units may have run since the last look, or 512 since a call returned that may
//!   have led back to the same function. So a slice is exceeded by no more than that, a region of code and what
//!   is paid ahead, 38,000 in all; only when calls return that are nested as deep as the stack allows, each may
//!   add its 512.
//!
//! Elsewhere, a charge is one subtraction. The host looks at the fuel as well when a call ends.
//!
//! # What follows
//!
//! No cycle of control flow is free, and a guest never runs more instructions than it has paid
//! for. The reverse does not hold: fuel is an upper bound of the instructions run, and the same for
//! every run of the same call.
//!
//! `steps` reads each function once, `plan` decides for each who pays for it, `cycles` which functions look where
//! they begin. `regions` cuts a function that pays for itself, `payments` and `looks` decide what each region
//! does, and `charge` writes the code.
//!
//! The global, and the table of one element that holds the host's function, come after all items of
//! the author, so no code of the author's can name them.

mod charge;
mod cycles;
mod looks;
mod paths;
mod pay;
mod payments;
mod plan;
mod ranges;
mod regions;
mod steps;

use std::collections::BTreeMap;

use ferrite_cache::{
    CodeOffsetMap, CodeOffsetMapWriter, METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT,
    MeterPlan,
};
use thiserror::Error;
use wasm_encoder::{
    BranchHints, ConstExpr, Encode, ExportKind, GlobalType, RefType, Section as _, SectionId,
    TableType, ValType,
};
use wasmparser::BinaryReader;

use crate::sections::{Additions, BRANCH_HINTS_SECTION, Replacement, Section, content_start, copy};
use plan::Plan;
use ranges::Ranges;

/// Longest list of moved code, in bytes: a quarter of a manifest's largest size.
///
/// A module with a longer list records only the moves of its functions; the offset in an error is
/// then that of the function in which it happened.
const MOVES_BYTES_MAX: usize = 512 << 10;

/// A module that counts the units that it runs.
#[derive(Clone, Debug)]
pub struct Metered {
    /// The module to compile.
    pub wasm: Vec<u8>,
    /// The host's information about the additions.
    pub plan: MeterPlan,
}

/// Reason why a valid module cannot be metered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The module is invalid after all.
    #[error("the module cannot be read to meter it")]
    Parse(#[from] wasmparser::Error),
    /// The module exports a name that the pass needs.
    #[error(
        "the module exports \"{name}\", which is reserved for metering; give the export another name"
    )]
    Reserved {
        /// The name.
        name: &'static str,
    },
    /// The module uses a feature that validation should have refused.
    #[error("the module uses {what}, which cannot be metered")]
    Unknown {
        /// The feature.
        what: &'static str,
    },
}

impl MeterError {
    /// Returns the word for this error in replies.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Reserved { .. } => "INVALID",
            Self::Parse(_) | Self::Unknown { .. } => "INTERNAL",
        }
    }
}

/// Indices of the pass's additions to a module.
#[derive(Clone, Copy, Debug)]
struct Added {
    /// The global that holds the fuel left of the slice.
    fuel: u32,
    /// The function that calls the host at the end of a slice.
    slice_is_over: u32,
}

/// Makes a valid module count the units that it runs.
///
/// # Errors
///
/// Fails on a reserved export name; a validated module causes no other error.
pub fn meter(wasm: &[u8]) -> Result<Metered, MeterError> {
    let plan = Plan::read(wasm)?;
    let added = Added {
        fuel: plan.counts.globals,
        slice_is_over: plan.counts.functions,
    };
    let mut ranges = Ranges::new(
        added,
        plan.counts.types + 1,
        plan.counts.functions + 1,
        plan.data_lens.clone(),
        plan.element_lens.clone(),
    );
    // Write the code first: it determines which functions for ranges are needed.
    let bodies: Vec<charge::Body> = plan
        .functions
        .iter()
        .zip(&plan.charges)
        .map(|(steps, charges)| charge::metered(steps, charges, added, &mut ranges))
        .collect();

    let mut additions = Additions::default();
    let hook_type = plan.counts.types;
    additions.add(SectionId::Type, |out| {
        // (func)
        out.push(0x60);
        [ValType::I32; 0].as_slice().encode(out);
        [ValType::I32; 0].as_slice().encode(out);
    });
    additions.add(SectionId::Function, |out| hook_type.encode(out));
    additions.add(SectionId::Table, |out| {
        TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 1,
            maximum: Some(1),
            shared: false,
        }
        .encode(out);
    });
    additions.add(SectionId::Global, |out| {
        GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        }
        .encode(out);
        ConstExpr::i64_const(0).encode(out);
    });
    additions.export(METER_FUEL_EXPORT, ExportKind::Global, added.fuel);
    additions.export(METER_HOOK_EXPORT, ExportKind::Table, plan.counts.tables);
    if let Some(start) = plan.start {
        additions.export(METER_START_EXPORT, ExportKind::Func, start);
    }
    additions.add(SectionId::Code, |out| {
        charge::slice_is_over(plan.counts.tables, hook_type).encode(out);
    });
    ranges.add_to(&mut additions);

    let mut places = BTreeMap::new();
    let wasm = copy(wasm, &additions, |piece, at| {
        if piece.is(SectionId::Start) {
            // The function is exported instead: the host fills the slice before any code runs.
            return Ok(Replacement::Omit);
        }
        if piece.is_custom(BRANCH_HINTS_SECTION) {
            // The author's are about places that have moved.
            return Ok(Replacement::Omit);
        }
        if piece.is(SectionId::Code) {
            let by = hints(&bodies, plan.counts.imported_functions);
            let content = code(piece, &bodies, &additions, at + by.len(), &mut places)?;
            return Ok(Replacement::Preceded { by, content });
        }
        Ok(Replacement::Copy)
    })?;
    Ok(Metered {
        wasm,
        plan: MeterPlan {
            start: plan.start.is_some(),
            moves: moves(&places),
        },
    })
}

/// Returns the section that says that calls of the host are rare; nothing if there are none.
fn hints(bodies: &[charge::Body], imported: u32) -> Vec<u8> {
    let mut hints = BranchHints::new();
    for (function, body) in (imported..).zip(bodies) {
        if body.hints().len() > 0 {
            hints.function_hints(function, body.hints());
        }
    }
    let mut section = Vec::new();
    if !hints.is_empty() {
        hints.append_to(&mut section);
    }
    section
}

/// Map from a place in the source to its offset in the result, and true if a function begins there.
type Places = BTreeMap<usize, (usize, bool)>;

/// Returns the content of the code section, whose header will be at `at`.
fn code(
    piece: &Section<'_>,
    bodies: &[charge::Body],
    additions: &Additions,
    at: usize,
    places: &mut Places,
) -> Result<Vec<u8>, wasmparser::Error> {
    let (added, entries) = additions.of(piece.id);
    let count = BinaryReader::new(piece.content, piece.at).read_var_u32()?;
    let mut content = Vec::with_capacity(piece.content.len() * 5 / 4);
    (count + added).encode(&mut content);
    let mut found = Vec::new();
    for body in bodies {
        (body.bytes.len() as u32).encode(&mut content);
        let base = content.len();
        let mut first = true;
        for &(source, within) in &body.places {
            found.push((source, base + within, first));
            first = false;
        }
        content.extend_from_slice(&body.bytes);
    }
    content.extend_from_slice(entries);
    let base = content_start(at, content.len());
    for (source, within, first) in found {
        places.insert(source, (base + within, first));
    }
    Ok(content)
}

/// Returns the list of moved code, shortened if it is too long.
fn moves(places: &Places) -> CodeOffsetMap {
    let list = |functions_only: bool| {
        let mut writer = CodeOffsetMapWriter::default();
        for (&source, &(now, first)) in places {
            if first || !functions_only {
                writer.push(source, now);
            }
        }
        writer.finish()
    };
    let all = list(false);
    if all.len() <= MOVES_BYTES_MAX {
        return all;
    }
    let functions = list(true);
    if functions.len() <= MOVES_BYTES_MAX {
        functions
    } else {
        CodeOffsetMap::default()
    }
}
