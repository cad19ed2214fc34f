//! Events with values, as an event sink gets them.

use ferrite_protocol::events::EventValue;
use ferrite_protocol::number::format_double;

use crate::value::Value;
use crate::value::blob::Blob;

/// An event of a key that the sink wants, with the values before and after its command.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) database: u32,
    pub(crate) key: Blob,
    pub(crate) name: &'static str,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
    /// Number of events before it in its commit.
    pub(super) at: usize,
}

impl EventValue for Value {
    fn type_name(&self) -> &'static str {
        Self::type_name(self)
    }

    fn to_bytes(&self, bytes_max: usize) -> Option<Vec<u8>> {
        let mut array = Array {
            bytes: Vec::new(),
            bytes_max,
        };
        match self {
            Self::Text(text) => {
                let text = text.as_slice();
                return (text.len() <= bytes_max).then(|| text.to_vec());
            }
            Self::List(list) => {
                array.begin(list.data.len());
                for element in list.data.iter() {
                    array.push(element)?;
                }
            }
            Self::Hash(hash) => {
                array.begin(2 * hash.data.len());
                for (field, value) in hash.data.iter() {
                    array.push(field)?;
                    array.push(value)?;
                }
            }
            Self::Set(set) => {
                array.begin(set.data.len());
                for (member, ()) in set.data.iter() {
                    array.push(member)?;
                }
            }
            Self::Zset(zset) => {
                array.begin(2 * zset.data.len());
                for (member, score) in zset.data.iter() {
                    array.push(member)?;
                    array.push(format_double(score).as_bytes())?;
                }
            }
        }
        Some(array.bytes)
    }
}

/// An array of RESP2 that stays below a bound.
struct Array {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Array {
    fn begin(&mut self, len: usize) {
        self.bytes
            .extend_from_slice(format!("*{len}\r\n").as_bytes());
    }

    fn push(&mut self, element: &[u8]) -> Option<()> {
        /// Most bytes of a length and of line ends.
        const FRAME_BYTES_MAX: usize = 32;
        if self.bytes.len() + element.len() + FRAME_BYTES_MAX > self.bytes_max {
            return None;
        }
        self.bytes
            .extend_from_slice(format!("${}\r\n", element.len()).as_bytes());
        self.bytes.extend_from_slice(element);
        self.bytes.extend_from_slice(b"\r\n");
        Some(())
    }
}
