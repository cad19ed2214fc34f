//! Finds the ends of replies in what an engine sends, without keeping the replies.

/// Deepest nesting of a reply.
const DEPTH_MAX: usize = 128;

/// Most bytes of a number in a head.
const NUMBER_BYTES_MAX: usize = 20;

/// The engine sent something that is no RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine sent bytes that are no RESP; check upstream.url")]
pub(crate) struct NotResp;

/// An aggregate with missing values.
#[derive(Clone, Copy, Debug)]
struct Open {
    missing: u64,
    /// True for an attribute, which is no value itself.
    attribute: bool,
}

/// Reads replies as they arrive, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct FrameScanner {
    open: Vec<Open>,
    /// Bytes of a bulk string that are still to come, its line break included.
    skip: u64,
    /// Type of the line that is being read; `None` between lines.
    kind: Option<u8>,
    /// The line's first bytes, if it is a number.
    number: Vec<u8>,
    /// Type of the whole reply; `None` between replies.
    first: Option<u8>,
}

impl FrameScanner {
    /// Returns the type of the reply that is being read, or was read last.
    pub(crate) const fn first(&self) -> Option<u8> {
        self.first
    }

    /// Returns true between two replies.
    pub(crate) const fn is_between(&self) -> bool {
        self.open.is_empty() && self.skip == 0 && self.kind.is_none()
    }

    /// Reads up to the end of the present reply. Returns the bytes that belong to it, and true if it has
    /// ended with them.
    ///
    /// # Errors
    ///
    /// [`NotResp`].
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), NotResp> {
        if self.is_between() {
            self.first = None;
        }
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let here = usize::try_from(self.skip).unwrap_or(usize::MAX);
                let here = here.min(bytes.len() - at);
                at += here;
                self.skip -= here as u64;
                if self.skip == 0 && self.complete() {
                    return Ok((at, true));
                }
                continue;
            }
            let Some(kind) = self.kind else {
                let kind = bytes[at];
                if !b"+-:$*_#,(!=%~>|".contains(&kind) {
                    return Err(NotResp);
                }
                self.first.get_or_insert(kind);
                self.kind = Some(kind);
                self.number.clear();
                at += 1;
                continue;
            };
            let rest = &bytes[at..];
            let end = rest.iter().position(|&byte| byte == b'\n');
            let line = &rest[..end.unwrap_or(rest.len())];
            at += line.len() + usize::from(end.is_some());
            if b"$!=*~>%|".contains(&kind) {
                if self.number.len() + line.len() > NUMBER_BYTES_MAX + 1 {
                    return Err(NotResp);
                }
                self.number.extend_from_slice(line);
            }
            if end.is_some() && self.end_line(kind)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Ends a line; returns true if the reply ends with it.
    fn end_line(&mut self, kind: u8) -> Result<bool, NotResp> {
        self.kind = None;
        let factor = match kind {
            b'$' | b'!' | b'=' => {
                let len = self.read_number()?;
                if len < 0 {
                    return Ok(self.complete());
                }
                self.skip = len.unsigned_abs() + 2;
                return Ok(false);
            }
            b'*' | b'~' | b'>' => 1,
            b'%' | b'|' => 2,
            _ => return Ok(self.complete()),
        };
        let count = self.read_number()?;
        let attribute = kind == b'|';
        if count <= 0 {
            return Ok(!attribute && self.complete());
        }
        if self.open.len() == DEPTH_MAX {
            return Err(NotResp);
        }
        self.open.push(Open {
            missing: count.unsigned_abs().saturating_mul(factor),
            attribute,
        });
        Ok(false)
    }

    fn read_number(&self) -> Result<i64, NotResp> {
        let digits = self.number.strip_suffix(b"\r").unwrap_or(&self.number);
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(NotResp)
    }

    /// Counts one more value; returns true if the reply is complete.
    fn complete(&mut self) -> bool {
        while let Some(inner) = self.open.last_mut() {
            inner.missing -= 1;
            if inner.missing > 0 {
                return false;
            }
            let attribute = inner.attribute;
            self.open.pop();
            if attribute {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameScanner, NotResp};

    /// The replies in `bytes`, read in pieces of `step` bytes, with what is left.
    fn split(bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, NotResp> {
        let mut scanner = FrameScanner::default();
        let mut frames = vec![Vec::new()];
        for mut piece in bytes.chunks(step) {
            while !piece.is_empty() {
                let (used, ended) = scanner.feed(piece)?;
                frames.last_mut().unwrap().extend_from_slice(&piece[..used]);
                if ended {
                    frames.push(Vec::new());
                }
                piece = &piece[used..];
            }
        }
        Ok(frames)
    }

    #[test]
    fn replies_are_found_however_they_arrive() {
        let frames: [&[u8]; 12] = [
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":-3\r\n",
            b"$5\r\na\r\nb\n\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n$2\r\nbb\r\n",
            b"%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n",
            b"|1\r\n+ttl\r\n:3\r\n*1\r\n_\r\n",
            b">2\r\n+invalidate\r\n*1\r\n$3\r\nkey\r\n",
        ];
        let all = frames.concat();
        for step in 1..all.len() {
            let found = split(&all, step).unwrap();
            assert_eq!(found.last(), Some(&Vec::new()));
            assert_eq!(found[..found.len() - 1], frames, "in steps of {step}");
        }
    }

    #[test]
    fn what_is_no_resp_is_refused() {
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"$abc\r\n",
            b"*99999999999999999999\r\n",
            b"$000000000000000000000000000001\r\n",
            &b"*1\r\n".repeat(200),
        ] {
            for step in [1, 7, wrong.len()] {
                assert_eq!(split(wrong, step), Err(NotResp));
            }
        }
    }
}
