//! Integers of any width inside a string: `BITFIELD` and `BITFIELD_RO`.

use smallvec::SmallVec;

use crate::commands::arguments::integer;
use crate::commands::spec::{Answer, Argv, DENYOOM, FAST, Keys, Out, READONLY, WRITE, commands};
use crate::commands::strings::charge_growth;
use crate::error::StoreError;
use crate::execution::view::{Missing, View};
use crate::value::text::Text;
use ferrite_protocol::number::parse_integer;

commands! {
    "bitfield", -2, WRITE | DENYOOM, Keys::FIRST => bitfield,
        "bitmap", "key [GET encoding offset|OVERFLOW WRAP|SAT|FAIL|SET encoding offset value|INCRBY encoding offset increment ...]",
        "Reads and writes integers of any width inside a string.";
    "bitfield_ro", -2, READONLY | FAST, Keys::FIRST => bitfield_ro,
        "bitmap", "key [GET encoding offset ...]",
        "Reads integers of any width inside a string.";
}

/// An integer's place in a string, its first bit the highest.
#[derive(Clone, Copy)]
struct Field {
    signed: bool,
    /// 1 to 64; at most 63 without a sign.
    bits: u32,
    offset: usize,
}

/// Units for an argument: a step has at least three, and goes through up to 64 bits twice.
const STEP_UNITS: u64 = 40;

/// Treatment of a number that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

#[derive(Clone, Copy)]
struct Step {
    field: Field,
    action: Action,
    overflow: Overflow,
}

type Steps = SmallVec<[Step; 4]>;
/// The answer of each step; `None` if a number did not fit and `OVERFLOW FAIL` is set.
type Answers = SmallVec<[Option<i64>; 4]>;

impl Field {
    fn parse<V: View>(view: &V, kind: &[u8], offset: &[u8]) -> Result<Self, StoreError> {
        let (signed, bits_max) = match kind.first() {
            Some(b'i') => (true, 64),
            Some(b'u') => (false, 63),
            _ => (false, 0),
        };
        let bits = kind
            .get(1..)
            .and_then(parse_integer)
            .filter(|bits| (1..=bits_max).contains(bits))
            .and_then(|bits| u32::try_from(bits).ok())
            .ok_or(StoreError::Refused(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            ))?;
        let bits_max = view.limits().string_bytes_max.saturating_mul(8);
        let (text, width) = match offset.strip_prefix(b"#") {
            Some(index) => (index, i64::from(bits)),
            None => (offset, 1),
        };
        let offset = parse_integer(text)
            .and_then(|number| number.checked_mul(width))
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number < bits_max)
            .ok_or(StoreError::Refused(
                "ERR bit offset is not an integer or out of range",
            ))?;
        Ok(Self {
            signed,
            bits,
            offset,
        })
    }

    /// The bytes that it has bits in.
    fn bytes(self) -> std::ops::Range<usize> {
        self.offset / 8..self.end()
    }

    /// The byte after its last bit.
    fn end(self) -> usize {
        (self.offset + self.bits as usize).div_ceil(8)
    }

    /// The field's number; bits behind the end of the string are 0.
    fn get(self, bytes: &[u8]) -> i128 {
        let bit = |at: usize| -> i128 {
            let byte = bytes.get(at / 8).copied().unwrap_or(0);
            i128::from(byte >> (7 - at % 8) & 1)
        };
        let places = self.offset..self.offset + self.bits as usize;
        self.signed_or_not(places.fold(0, |number, at| number << 1 | bit(at)))
    }

    /// Writes the lowest bits of a number into a string that is long enough.
    fn set(self, bytes: &mut [u8], number: i128) {
        for place in 0..self.bits {
            let at = self.offset + (self.bits - 1 - place) as usize;
            let mask = 0x80 >> (at % 8);
            if number >> place & 1 != 0 {
                bytes[at / 8] |= mask;
            } else {
                bytes[at / 8] &= !mask;
            }
        }
    }

    /// Reads the lowest `bits` of `number` as a field of this type.
    fn signed_or_not(self, number: i128) -> i128 {
        let low = number & ((1 << self.bits) - 1);
        if self.signed && low >> (self.bits - 1) != 0 {
            low - (1 << self.bits)
        } else {
            low
        }
    }

    /// The number of a `SET`. Far below the range, the check in Valkey overflows, and a saturated field
    /// gets the most that it holds.
    fn as_set(self, number: i64, overflow: Overflow) -> i128 {
        let number = i128::from(number);
        let most = (1_i128 << (self.bits - 1)) - 1;
        let overflows = self.bits < 64 && most - number > i128::from(i64::MAX);
        match overflow {
            Overflow::Saturate if overflows => most,
            _ => number,
        }
    }

    /// The number as stored; `None` if it does not fit and the step should fail.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (least, most) = if self.signed {
            (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        };
        match overflow {
            _ if (least..=most).contains(&number) => Some(number),
            Overflow::Wrap => Some(self.signed_or_not(number)),
            Overflow::Saturate => Some(number.clamp(least, most)),
            Overflow::Fail => None,
        }
    }
}

impl Step {
    fn is_write(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// Returns the number that the step writes into a string, if it writes one, and its answer.
    fn plan(self, bytes: &[u8]) -> (Option<i128>, Option<i64>) {
        let before = self.field.get(bytes);
        let (number, answer) = match self.action {
            Action::Get => return (None, narrow(before)),
            // Without a sign, a negative number stands for a very large one.
            Action::Set(number) if self.field.signed => {
                (self.field.as_set(number, self.overflow), Some(before))
            }
            Action::Set(number) => (i128::from(number.cast_unsigned()), Some(before)),
            Action::Increment(delta) => (before + i128::from(delta), None),
        };
        match self.field.fit(number, self.overflow) {
            Some(number) => (Some(number), narrow(answer.unwrap_or(number))),
            None => (None, None),
        }
    }

    /// Runs the step on a string that is long enough for its write.
    fn run(self, bytes: &mut [u8]) -> Option<i64> {
        let (number, answer) = self.plan(bytes);
        if let Some(number) = number {
            self.field.set(bytes, number);
        }
        answer
    }

    /// Returns true if the step leaves a string as it is.
    fn changes_nothing(self, bytes: &[u8]) -> bool {
        let (number, _) = self.plan(bytes);
        number.is_none_or(|number| number == self.field.get(bytes))
    }
}

/// Never `None`: fields have 64 bits with a sign or 63 without.
fn narrow(number: i128) -> Option<i64> {
    i64::try_from(number).ok()
}

fn parse<V: View>(view: &V, argv: Argv<'_>) -> Result<Steps, StoreError> {
    let mut overflow = Overflow::Wrap;
    let mut steps = Steps::new();
    let mut rest = &argv[2..];
    loop {
        let word = rest.first().map(|word| word.to_ascii_lowercase());
        match (word.as_deref(), rest) {
            (None, _) => return Ok(steps),
            (Some(b"overflow"), [_, kind, more @ ..]) => {
                overflow = match kind.to_ascii_lowercase().as_slice() {
                    b"wrap" => Overflow::Wrap,
                    b"sat" => Overflow::Saturate,
                    b"fail" => Overflow::Fail,
                    _ => return Err(StoreError::Refused("ERR Invalid OVERFLOW type specified")),
                };
                rest = more;
            }
            (Some(b"get"), [_, kind, offset, more @ ..]) => {
                steps.push(Step {
                    field: Field::parse(view, kind, offset)?,
                    action: Action::Get,
                    overflow,
                });
                rest = more;
            }
            (Some(what @ (b"set" | b"incrby")), [_, kind, offset, number, more @ ..]) => {
                let field = Field::parse(view, kind, offset)?;
                let number = integer(number)?;
                let action = match what {
                    b"set" => Action::Set(number),
                    _ => Action::Increment(number),
                };
                steps.push(Step {
                    field,
                    action,
                    overflow,
                });
                rest = more;
            }
            _ => return Err(StoreError::Syntax),
        }
    }
}

fn bitfield<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(STEP_UNITS * argv.len() as u64)?;
    let steps = parse(view, argv)?;
    let writes = steps.iter().filter(|step| step.is_write());
    let Some(end) = writes.map(|step| step.field.end()).max() else {
        return read(view, argv, &steps, out);
    };
    if end > view.limits().string_bytes_max {
        return Err(StoreError::StringTooLong);
    }
    // What changes nothing is no write: it causes no event.
    if let Some(text) = view.read::<Text>(argv[1])?
        && text.len() >= end
        && steps
            .iter()
            .all(|step| step.changes_nothing(text.as_slice()))
    {
        let plan = |step: &Step| step.plan(text.as_slice()).1;
        write(&steps.iter().map(plan).collect(), out);
        return Ok(());
    }
    let answers = view.update::<Text, _>(argv[1], Missing::Create, |text| {
        charge_growth(text.len(), end, out)?;
        let changed = steps
            .iter()
            .filter(|step| step.is_write())
            .map(|step| step.field.bytes());
        let bytes = text.bytes_mut(changed);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        let run = |step: &Step| step.run(bytes);
        Ok(steps.iter().map(run).collect::<Answers>())
    })?;
    write(&answers.unwrap_or_default(), out);
    Ok(())
}

fn bitfield_ro<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(STEP_UNITS * argv.len() as u64)?;
    let steps = parse(view, argv)?;
    if steps.iter().any(Step::is_write) {
        return Err(StoreError::Refused(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    read(view, argv, &steps, out)
}

fn read<V: View>(view: &mut V, argv: Argv<'_>, steps: &Steps, out: Out<'_>) -> Answer {
    let bytes = view.read::<Text>(argv[1])?.map_or(&b""[..], Text::as_slice);
    let answers: Answers = steps
        .iter()
        .map(|step| narrow(step.field.get(bytes)))
        .collect();
    write(&answers, out);
    Ok(())
}

fn write(answers: &Answers, out: Out<'_>) {
    out.array(answers.len());
    for answer in answers {
        match answer {
            Some(number) => out.int(*number),
            None => out.null(),
        }
    }
}
