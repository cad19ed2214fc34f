//! The setting that chooses which keyspace events clients are told of.

use std::fmt;

use ferrite_store::EventClass;

use super::{Raw, Setting, quoted, text};

/// Letters that choose where events are told and which; `A` stands for all classes.
const LETTERS: [(char, u32); 9] = [
    ('K', KEYSPACE),
    ('E', KEYEVENT),
    ('g', class_bit(EventClass::Generic)),
    ('$', class_bit(EventClass::String)),
    ('l', class_bit(EventClass::List)),
    ('s', class_bit(EventClass::Set)),
    ('h', class_bit(EventClass::Hash)),
    ('z', class_bit(EventClass::Zset)),
    ('x', class_bit(EventClass::Expired)),
];

/// Tell on the channels of keys, `__keyspace@<db>__:<key>`.
const KEYSPACE: u32 = 1;
/// Tell on the channels of events, `__keyevent@<db>__:<event>`.
const KEYEVENT: u32 = 2;
const CLASSES: u32 = 0x7f << 2;

const fn class_bit(class: EventClass) -> u32 {
    4 << class as u32
}

/// The events that clients are told, as `notify-keyspace-events` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSelection(u32);

impl EventSelection {
    /// Reads the letters; `None` if there is an unknown one. Letters of events that never happen here
    /// (`t`, `d`, `e`, `m`, `n`) are accepted, and select nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::default(), |selection, letter| {
            let bits = match letter {
                'A' => CLASSES,
                't' | 'd' | 'e' | 'm' | 'n' => 0,
                letter => LETTERS.iter().find(|(known, _)| *known == letter)?.1,
            };
            Some(Self(selection.0 | bits))
        })
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Returns true if events of this class are told.
    pub(crate) const fn has(self, class: EventClass) -> bool {
        self.0 & class_bit(class) != 0
    }

    /// Returns true if events are told on the channels of keys.
    pub(crate) const fn by_key(self) -> bool {
        self.0 & KEYSPACE != 0
    }

    /// Returns true if events are told on the channels of events.
    pub(crate) const fn by_event(self) -> bool {
        self.0 & KEYEVENT != 0
    }

    /// Returns true if any event is told anywhere.
    #[must_use]
    pub const fn selects(self) -> bool {
        self.0 & (KEYSPACE | KEYEVENT) != 0 && self.0 & CLASSES != 0
    }
}

impl fmt::Display for EventSelection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0 & CLASSES == CLASSES;
        if all {
            out.write_str("A")?;
        }
        LETTERS
            .iter()
            .filter(|(_, bit)| self.0 & bit != 0 && !(all && bit & CLASSES != 0))
            .try_for_each(|(letter, _)| write!(out, "{letter}"))
    }
}

impl Setting for EventSelection {
    const KIND: &'static str = "letters out of `KEg$lshzxAtdemn`";

    fn read(raw: &Raw) -> Option<Self> {
        Self::parse(text(raw)?.trim())
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

#[cfg(test)]
mod tests {
    use super::EventSelection;

    #[test]
    fn letters_are_read_and_written() {
        for (text, shown, selects) in [
            ("", "", false),
            ("KEA", "AKE", true),
            ("Kg$", "Kg$", true),
            ("KElshzxg$", "AKE", true),
            ("A", "A", false),
            ("K", "K", false),
            ("Exmn", "Ex", true),
        ] {
            let selection = EventSelection::parse(text).expect("known letters");
            assert_eq!(selection.to_string(), shown, "{text}");
            assert_eq!(selection.selects(), selects, "{text}");
        }
        assert_eq!(EventSelection::parse("Kq"), None);
    }
}
