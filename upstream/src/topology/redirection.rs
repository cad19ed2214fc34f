//! Replies by which a node of a cluster names another one.

use crate::address::Address;

/// The node that a request has to be sent to instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirection {
    /// The slot is that node's.
    Moved {
        /// The slot.
        slot: u16,
        /// Its node.
        to: Address,
    },
    /// The slot moves there, and this key may have arrived; the request must follow `ASKING`.
    Ask {
        /// The node.
        to: Address,
    },
}

impl Redirection {
    /// Reads an error reply that names the other node's host; `None` for any other.
    pub(crate) fn read_named(error: &str) -> Option<Self> {
        let nowhere = Address {
            host: String::new(),
            port: 0,
        };
        let read = Self::read(error, &nowhere)?;
        let (Self::Moved { to, .. } | Self::Ask { to }) = &read;
        (!to.host.is_empty()).then_some(read)
    }

    /// Reads an error reply, without its `-`, of the node at `from`; `None` for any other error.
    #[must_use]
    pub fn read(error: &str, from: &Address) -> Option<Self> {
        let mut words = error.split_ascii_whitespace();
        let code = words.next()?;
        if !matches!(code, "MOVED" | "ASK") {
            return None;
        }
        let slot = words.next()?.parse().ok()?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let to = Address {
            // A node that does not know its own name is where it was asked.
            host: match host {
                "" | "?" => from.host.clone(),
                host => host.trim_matches(['[', ']']).to_owned(),
            },
            port: port.parse().ok()?,
        };
        Some(match code {
            "MOVED" => Self::Moved { slot, to },
            _ => Self::Ask { to },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Redirection};

    #[test]
    fn redirections_are_told_from_other_errors() {
        let from = Address {
            host: "here".to_owned(),
            port: 1,
        };
        let to = |host: &str, port| Address {
            host: host.to_owned(),
            port,
        };
        let read = |text| Redirection::read(text, &from);
        assert_eq!(
            read("MOVED 3999 127.0.0.1:6381"),
            Some(Redirection::Moved {
                slot: 3999,
                to: to("127.0.0.1", 6381)
            })
        );
        assert_eq!(
            read("ASK 1 ::1:7000"),
            Some(Redirection::Ask {
                to: to("::1", 7000)
            })
        );
        assert_eq!(
            read("MOVED 1 :7000"),
            Some(Redirection::Moved {
                slot: 1,
                to: to("here", 7000)
            })
        );
        for other in [
            "",
            "MOVED",
            "MOVED x a:1",
            "MOVED 1 a",
            "MOVED 1 a:b",
            "TRYAGAIN no",
            "MOVEDX 1 a:1",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
