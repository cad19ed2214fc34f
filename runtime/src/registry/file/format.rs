//! The text of the registry's file: lines with sums, and the version from before without them.

use std::collections::BTreeMap;
use std::io;

use ferrite_cache::Digest;
use serde::{Deserialize, Serialize};

use crate::registry::record::{FunctionName, Record};
use crate::registry::rollback_guard::Sequences;

/// The latest version that is read; a file of a later one is not touched.
pub(super) const VERSION: u32 = 3;

/// The version of files without records of [`VERSION`], which older programs read.
const VERSION_WITHOUT_AUTOMATION: u32 = 2;

/// The version without sums, which is read only.
const VERSION_WITHOUT_SUMS: u32 = 1;

/// Hex digits of a sum.
const SUM_DIGITS: usize = 16;

/// The first line.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    lines: usize,
}

/// A change of the registry.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Change<'a> {
    /// Functions that are new, or other than before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) put: Vec<&'a Record>,
    /// Functions that are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) remove: Vec<&'a FunctionName>,
    /// Sequence numbers that have changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sequences: BTreeMap<&'a FunctionName, u64>,
}

impl Change<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty() && self.sequences.is_empty()
    }

    /// Returns the lowest version of a file that can hold this change.
    pub(super) fn version(&self) -> u32 {
        let put = self.put.iter().map(|record| version_of(record));
        put.max().unwrap_or(VERSION_WITHOUT_AUTOMATION)
    }
}

/// Returns the lowest version of a file that can hold this record.
const fn version_of(record: &Record) -> u32 {
    match record.automation {
        Some(_) => VERSION,
        None => VERSION_WITHOUT_AUTOMATION,
    }
}

/// A change as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadChange {
    #[serde(default)]
    put: Vec<Record>,
    #[serde(default)]
    remove: Vec<FunctionName>,
    #[serde(default)]
    sequences: Sequences,
}

/// The contents of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegistryContents {
    /// Every function.
    pub functions: Vec<Record>,
    /// The highest sequence number loaded of each function that came in a signed bundle.
    pub sequences: Sequences,
}

/// The one field that every version has, in its first line or its only object.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The object of the version without sums.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentsWithoutSums {
    /// Looked at before anything else; see [`Version`].
    #[serde(rename = "version")]
    _version: u32,
    functions: Vec<Record>,
    #[serde(default)]
    sequences: Sequences,
}

/// Reason why a text is not a registry that can be read.
pub(super) enum FormatError {
    /// It is damaged; the text says how.
    Damaged(String),
    /// It is of a later version.
    Version(u32),
}

/// The place at which the next line can be appended.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// The version of the file.
    pub(super) version: u32,
    /// Bytes before it.
    pub(super) bytes: u64,
    /// Lines before it.
    pub(super) lines: usize,
    /// The sum of the last of them.
    pub(super) sum: String,
}

impl Tail {
    /// The place for the first line of a file of this version.
    const fn start(version: u32) -> Self {
        Self {
            version,
            bytes: 0,
            lines: 0,
            sum: String::new(),
        }
    }

    /// Returns the place after another line, which it adds to `text`.
    pub(super) fn push(&self, text: &mut Vec<u8>, content: &impl Serialize) -> io::Result<Self> {
        let before = text.len();
        let sum = push_line(text, &self.sum, content)?;
        Ok(Self {
            version: self.version,
            bytes: self.bytes + (text.len() - before) as u64,
            lines: self.lines + 1,
            sum,
        })
    }
}

/// Reads a file's text. There is no tail if the file must be replaced by the next change, because it is of
/// the version without sums, or its last line was cut off.
pub(super) fn read(text: &[u8]) -> Result<(RegistryContents, Option<Tail>), FormatError> {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    if let Ok(Version { version }) = serde_json::from_slice(first)
        && version > VERSION
    {
        return Err(FormatError::Version(version));
    }
    let header = parts(first).and_then(|(content, _)| {
        let header: Header = serde_json::from_slice(&content).ok()?;
        (header.version >= VERSION_WITHOUT_AUTOMATION).then_some(header)
    });
    match header {
        Some(header) => read_lines(text, &header),
        None => read_without_sums(text).map(|contents| (contents, None)),
    }
}

fn read_lines(
    text: &[u8],
    header: &Header,
) -> Result<(RegistryContents, Option<Tail>), FormatError> {
    let mut functions = BTreeMap::new();
    let mut sequences = Sequences::new();
    let mut tail = Tail::start(header.version);
    let mut rest = text;
    while let Some(len) = rest.iter().position(|byte| *byte == b'\n') {
        let number = tail.lines + 1;
        let wrong = |problem: &str| FormatError::Damaged(format!("line {number}: {problem}"));
        let (content, sum) = parts(&rest[..len]).ok_or_else(|| wrong("it has no sum"))?;
        if sum != sum_of(&tail.sum, &content) {
            return Err(wrong("its sum is wrong"));
        }
        // The first is the header.
        if number > 1 {
            let ReadChange {
                put,
                remove,
                sequences: raised,
            } = serde_json::from_slice(&content).map_err(|error| wrong(&error.to_string()))?;
            for name in remove {
                functions.remove(&name);
            }
            for record in put {
                functions.insert(record.name.clone(), record);
            }
            sequences.extend(raised);
        }
        tail = Tail {
            version: header.version,
            bytes: tail.bytes + len as u64 + 1,
            lines: number,
            sum,
        };
        rest = &rest[len + 1..];
    }
    if tail.lines < header.lines {
        let (lines, whole) = (tail.lines, header.lines);
        let problem = format!("it ends after {lines} of {whole} lines");
        return Err(FormatError::Damaged(problem));
    }
    let contents = RegistryContents {
        functions: functions.into_values().collect(),
        sequences,
    };
    Ok((contents, rest.is_empty().then_some(tail)))
}

fn read_without_sums(text: &[u8]) -> Result<RegistryContents, FormatError> {
    let damaged = |error: serde_json::Error| FormatError::Damaged(error.to_string());
    let Version { version } = serde_json::from_slice(text).map_err(damaged)?;
    if version > VERSION {
        return Err(FormatError::Version(version));
    }
    if version != VERSION_WITHOUT_SUMS {
        let problem = format!("it is of version {version} and has no sums");
        return Err(FormatError::Damaged(problem));
    }
    let ContentsWithoutSums {
        functions,
        sequences,
        ..
    } = serde_json::from_slice(text).map_err(damaged)?;
    let mut names: Vec<_> = functions.iter().map(|record| &record.name).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = format!("function {} is in it twice", twice[0]);
        return Err(FormatError::Damaged(problem));
    }
    Ok(RegistryContents {
        functions,
        sequences,
    })
}

/// Writes the whole of a registry, with a line for each function. Returns the place after it.
pub(super) fn write_whole<'a>(
    text: &mut Vec<u8>,
    records: impl Iterator<Item = &'a Record>,
    sequences: &Sequences,
) -> io::Result<Tail> {
    let mut functions: Vec<&Record> = records.collect();
    functions.sort_by(|one, other| one.name.cmp(&other.name));
    let version = functions.iter().map(|record| version_of(record));
    let version = version.max().unwrap_or(VERSION_WITHOUT_AUTOMATION);
    let header = Header {
        version,
        lines: 1 + functions.len() + usize::from(!sequences.is_empty()),
    };
    let mut tail = Tail::start(version).push(text, &header)?;
    for record in functions {
        let change = Change {
            put: vec![record],
            ..Change::default()
        };
        tail = tail.push(text, &change)?;
    }
    if !sequences.is_empty() {
        let change = Change {
            sequences: sequences.iter().map(|(name, &last)| (name, last)).collect(),
            ..Change::default()
        };
        tail = tail.push(text, &change)?;
    }
    Ok(tail)
}

/// Appends a line with its sum, which it returns.
fn push_line(text: &mut Vec<u8>, sum_before: &str, content: &impl Serialize) -> io::Result<String> {
    let content = serde_json::to_vec(content)?;
    let sum = sum_of(sum_before, &content);
    // An object always ends with a brace; the sum becomes its last field.
    let open = content.strip_suffix(b"}").unwrap_or(&content);
    text.extend_from_slice(open);
    text.extend_from_slice(format!(",\"sum\":\"{sum}\"}}\n").as_bytes());
    Ok(sum)
}

/// Splits a line into its content without the sum, and the sum.
fn parts(line: &[u8]) -> Option<(Vec<u8>, String)> {
    let line = line.strip_suffix(b"\"}")?;
    let (rest, sum) = line.split_at_checked(line.len().checked_sub(SUM_DIGITS)?)?;
    let open = rest.strip_suffix(b",\"sum\":\"")?;
    Some(([open, b"}"].concat(), String::from_utf8(sum.to_vec()).ok()?))
}

/// The sum of a line, which depends on all lines before.
fn sum_of(sum_before: &str, content: &[u8]) -> String {
    let digest = Digest::of(&[sum_before.as_bytes(), content].concat()).to_string();
    let (_, hex) = digest.split_once(':').unwrap_or(("", &digest));
    hex[..SUM_DIGITS].to_owned()
}
