//! The user that a call counts for, and the number of users that share the places of functions.
//!
//! The server tells no module when its users change, so they are counted once a second. While there is
//! one user alone, or sharing is switched off, no call asks for its user.

use std::sync::atomic::{AtomicUsize, Ordering};

use ferrite_protocol::resp::tree::{Token, Tokens};
use ferrite_runtime::{CallUser, UserShare};

use crate::api::command_call::Format;
use crate::api::context::Context;
use crate::api::ffi;
use crate::api::locked_cell::LockedCell;
use crate::transaction::server_reads;

/// Turns of the timer between two counts.
const TURNS_BETWEEN: usize = 10;

/// With more users than this, those that cannot log in are counted too: asking for each takes long.
const ASKED_MAX: usize = 64;

/// Users that share the places; fewer than two share nothing.
static USERS: AtomicUsize = AtomicUsize::new(0);

static TURN: AtomicUsize = AtomicUsize::new(0);

/// The user of the last call, with its name.
static LAST: LockedCell<Option<(Box<[u8]>, CallUser)>> = LockedCell::new(None);

/// Counts the users in some turns of the timer, if they share.
pub(crate) fn turn(context: Context<'_>, shares: bool) {
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    if shares
        && turn.is_multiple_of(TURNS_BETWEEN)
        && let Some(users) = count_users(context)
    {
        USERS.store(users, Ordering::Relaxed);
    }
}

/// Returns the number of users that can log in; `None` if the server does not tell.
fn count_users(context: Context<'_>) -> Option<usize> {
    server_reads::command(context, &[b"ACL", b"USERS"], Format::Own, |reply| {
        let mut tokens = Tokens::new(reply);
        let Some(Token::Array(users)) = tokens.next() else {
            return None;
        };
        if users > ASKED_MAX {
            return Some(users);
        }
        let on = tokens.filter(|token| match token {
            Token::Bulk(name) => context.is_user_on(name),
            _ => false,
        });
        Some(on.count())
    })?
}

/// Returns the share of the user whose command this is. Commands of the server itself have none.
pub(crate) fn of_command(context: Context<'_>) -> UserShare {
    if USERS.load(Ordering::Relaxed) < 2
        || context.flags() & (ffi::CTX_REPLICATED | ffi::CTX_LOADING) != 0
    {
        return UserShare::NOBODY;
    }
    let name = context.user_name();
    of_user(context, name.as_ref().map(|name| name.bytes()))
}

/// Returns the share of the user of this name; `None` is the server itself.
pub(crate) fn of_user(context: Context<'_>, name: Option<&[u8]>) -> UserShare {
    let users = USERS.load(Ordering::Relaxed);
    let Some(name) = name.filter(|_| users > 1) else {
        return UserShare::NOBODY;
    };
    let user = LAST.with(context, |last| match last {
        Some((known, user)) if **known == *name => *user,
        last => {
            let user = CallUser::named(&String::from_utf8_lossy(name));
            *last = Some((name.into(), user));
            user
        }
    });
    UserShare::new(user, users)
}
