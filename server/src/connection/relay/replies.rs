//! The replies of the engine, and what they change.

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_upstream::{Account, UpstreamError};

use super::cluster::Redirected;
use super::expected::Expected;
use super::frames::{FrameScanner, NotResp};
use super::{Admission, Owed, Relay};
use crate::connection::close_reason::CloseReason;

/// Bytes of a reply's start that are looked at.
const HEAD_BYTES: usize = 512;

/// Longest error that may name another node.
const ERROR_BYTES_MAX: usize = 64 * 1024;

impl Relay<'_> {
    /// Passes on what a server has sent.
    pub(super) fn receive(&mut self, index: usize) -> Result<(), CloseReason> {
        if !self.nodes.is_active(index) {
            self.receive_pushes(index)?;
            self.pass_pushes_on();
            return Ok(());
        }
        let Some(node) = self.nodes.active_mut() else {
            return Ok(());
        };
        let received = std::mem::take(&mut node.connection.received);
        let mut frames = std::mem::take(&mut node.frames);
        let read = self.read_replies(&received, &mut frames);
        if let Some(node) = self.nodes.active_mut() {
            node.frames = frames;
            node.connection.received = received;
            node.connection.received.clear();
        }
        self.pass_pushes_on();
        read
    }

    fn read_replies(
        &mut self,
        received: &[u8],
        frames: &mut FrameScanner,
    ) -> Result<(), CloseReason> {
        let is_cluster = self.topology().is_cluster();
        let mut rest = received;
        while !rest.is_empty() {
            if self.streams {
                self.output.extend_from_slice(rest);
                break;
            }
            let (used, ended) = match frames.feed(rest) {
                Ok(fed) => fed,
                Err(error) => return Err(self.garbage(error)),
            };
            let frame = &rest[..used];
            rest = &rest[used..];
            let is_push = frames.first() == Some(b'>');
            if is_push && is_cluster {
                // Another node may be active before the rest of it has come.
                if let Some(node) = self.nodes.active_mut() {
                    node.push.extend_from_slice(frame);
                    if ended {
                        self.cluster.pushes.append(&mut node.push);
                    }
                }
                continue;
            }
            if is_push || (self.listens && self.protocol == Protocol::Resp2) {
                self.output.extend_from_slice(frame);
                if self.listens && !is_push {
                    self.listened(frame, ended);
                }
                continue;
            }
            let catches = match self.expected.front() {
                Some(Owed {
                    expected: Expected::Admission | Expected::Login | Expected::Instead(_),
                    ..
                }) => false,
                Some(Owed {
                    redirected: Redirected::Follow(..) | Redirected::Replace,
                    ..
                }) if frames.first() == Some(b'-') => true,
                Some(_) if self.login_error.is_some() && frames.first() == Some(b'-') => true,
                _ => {
                    self.pass_on(frame);
                    false
                }
            };
            let bytes_max = match catches {
                true => ERROR_BYTES_MAX,
                false => HEAD_BYTES,
            };
            let room = bytes_max.saturating_sub(self.head.len());
            if catches && room < frame.len() {
                return Err(self.garbage(NotResp));
            }
            self.head.extend_from_slice(&frame[..frame.len().min(room)]);
            if ended {
                let head = std::mem::take(&mut self.head);
                match self.expected.pop_front() {
                    Some(owed) if catches => self.take_up_error(owed, &head),
                    Some(owed) => {
                        self.cluster.release(&owed.redirected);
                        self.answered(owed.expected, &head);
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// Takes up an error that may name another node, or that only tells the client to authenticate where this
    /// server was to do so.
    fn take_up_error(&mut self, owed: Owed, error: &[u8]) {
        match &self.login_error {
            Some(instead) if error.starts_with(b"-NOAUTH") => {
                let instead = instead.clone();
                self.pass_on(&instead);
                self.cluster.release(&owed.redirected);
                self.answered(owed.expected, &instead);
            }
            _ => self.redirect(owed, error),
        }
    }

    fn garbage(&mut self, error: NotResp) -> CloseReason {
        tracing::warn!(client = self.client.id, %error, "an engine is no Redis-compatible one");
        let mut reply = Encoder::new(self.protocol);
        reply.error(format!("STORE {error}"));
        self.output.extend_from_slice(reply.bytes());
        // Best effort: the connection ends in any case.
        CloseReason::EngineGarbage
    }

    /// Takes up what a node has sent that owes nothing: messages of channels.
    fn receive_pushes(&mut self, index: usize) -> Result<(), CloseReason> {
        let Some(node) = self.nodes.get_mut(index) else {
            return Ok(());
        };
        let received = std::mem::take(&mut node.connection.received);
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let Ok((used, ended)) = node.frames.feed(rest) else {
                return Err(self.garbage(NotResp));
            };
            if node.frames.first() == Some(b'>') {
                node.push.extend_from_slice(&rest[..used]);
                if ended {
                    self.cluster.pushes.append(&mut node.push);
                }
            }
            rest = &rest[used..];
        }
        Ok(())
    }

    /// Passes messages of channels on between two replies.
    fn pass_pushes_on(&mut self) {
        let is_between = self
            .nodes
            .active()
            .is_none_or(|node| node.frames.is_between());
        if is_between {
            self.output.append(&mut self.cluster.pushes);
        }
    }

    /// Takes up that a server has closed a connection.
    pub(super) fn node_left(&mut self, index: usize) -> Result<(), CloseReason> {
        self.topology().suspect();
        let is_needed = self.listens
            || self.streams
            || self.in_multi
            || self.cluster.pin.is_some()
            || self.cluster.subscribes
            || self.cluster.quits
            || (self.nodes.is_active(index) && !self.expected.is_empty());
        if is_needed || !self.topology().is_cluster() {
            return Err(CloseReason::EngineLeft);
        }
        self.nodes.remove(index);
        Ok(())
    }

    /// Notes the end of listening, which is the confirmation that no channel is left.
    fn listened(&mut self, frame: &[u8], ended: bool) {
        /// Longer replies are messages.
        const CONFIRMATION_BYTES_MAX: usize = 64 * 1024;
        if self.head.len() + frame.len() <= CONFIRMATION_BYTES_MAX {
            self.head.extend_from_slice(frame);
        }
        if !ended {
            return;
        }
        let head = std::mem::take(&mut self.head);
        if head.starts_with(b"+RESET") {
            self.listens = false;
            self.answered(Expected::Reset, &head);
            return;
        }
        match confirmed(&head) {
            Some(channels) => self.channels = channels,
            // The engine refused to let it listen.
            None if head.first() == Some(&b'-') => {}
            None => return,
        }
        self.listens = self.channels > 0;
    }

    /// Notes what a reply has changed. `head` is its start.
    pub(super) fn answered(&mut self, expected: Expected, head: &[u8]) {
        let failed = head.first() == Some(&b'-');
        match expected {
            Expected::Admission => {
                self.admission = match (head.starts_with(b"-NOAUTH"), &self.login_error) {
                    (true, Some(error)) => Admission::Refused(error.clone()),
                    (true, None) => Admission::Refused(head.to_vec()),
                    (false, _) => Admission::Admitted,
                };
            }
            Expected::Login if failed => self.note_login_error(head),
            Expected::Instead(reply) => self.pass_on(&reply),
            // They end it even if they fail, as in `EXECABORT`.
            Expected::EndMulti => {
                self.in_multi = false;
                self.cluster.end_multi();
            }
            _ if failed || head.starts_with(b"+QUEUED") => {}
            Expected::Nothing | Expected::Login | Expected::RepliesOn => {}
            Expected::Watch => {
                let node = self.nodes.active().map(|node| node.address.clone());
                self.cluster.pin = node.filter(|_| self.topology().is_cluster());
            }
            Expected::Unwatch => self.cluster.end_multi(),
            Expected::Account(account) => {
                self.nodes.keep_active();
                self.set_account(account);
            }
            Expected::Hello(protocol, account) => {
                self.nodes.keep_active();
                if let Some(protocol) = protocol {
                    self.protocol = protocol;
                }
                if let Some(account) = account {
                    self.set_account(account);
                }
            }
            Expected::Database(database) => {
                self.nodes.keep_active();
                self.database = database;
            }
            Expected::Multi => self.in_multi = true,
            Expected::Reset => {
                self.nodes.keep_active();
                self.cluster.end_multi();
                self.set_account(Account::default());
                self.database = 0;
                self.protocol = Protocol::Resp2;
                self.in_multi = false;
            }
        }
    }

    /// Notes that the engine refuses the credentials that this server gives it, by its answer.
    fn note_login_error(&mut self, answer: &[u8]) {
        let answer = String::from_utf8_lossy(answer.strip_prefix(b"-").unwrap_or(answer));
        let error = UpstreamError::login(&self.account, answer.trim_end());
        let error = error.reply();
        tracing::warn!(%error, "a client cannot use the engine");
        let mut reply = Encoder::new(self.protocol);
        reply.error(error);
        self.login_error = Some(reply.take());
    }

    fn set_account(&mut self, account: Account) {
        self.login_error = None;
        let user = account.user.clone().unwrap_or_else(|| "default".to_owned());
        self.client.update_labels(|labels| labels.user = user);
        self.account = account;
        self.admission = Admission::Unknown;
    }
}

/// Returns the number of channels in the confirmation of `SUBSCRIBE`, `UNSUBSCRIBE` and their like.
fn confirmed(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(b"*3\r\n$")?;
    let at = rest.iter().position(|&byte| byte == b'\n')?;
    let kind = rest[at + 1..].split(|&byte| byte == b'\r').next()?;
    if !kind.ends_with(b"subscribe") {
        return None;
    }
    let count = frame
        .strip_suffix(b"\r\n")?
        .rsplit(|&byte| byte == b'\n')
        .next()?;
    std::str::from_utf8(count.strip_prefix(b":")?)
        .ok()?
        .parse()
        .ok()
}
