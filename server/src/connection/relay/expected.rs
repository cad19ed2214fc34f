//! The effect of a connection's requests on its state at the engine, as far as it has to be known here.

use ferrite_protocol::resp::Protocol;
use ferrite_upstream::Account;

/// A reply that the engine owes, and what it changes if it is no error.
#[derive(Debug)]
pub(super) enum Expected {
    /// Nothing.
    Nothing,
    /// The client's user.
    Account(Account),
    /// The protocol, and maybe the user.
    Hello(Option<Protocol>, Option<Account>),
    /// The database.
    Database(u32),
    /// `MULTI` begins.
    Multi,
    /// `MULTI` ends.
    EndMulti,
    /// Keys are watched.
    Watch,
    /// No keys are watched any more.
    Unwatch,
    /// Everything is as it was at the start.
    Reset,
    /// Replies are sent again.
    RepliesOn,
    /// It is not passed on: it answers whether the client may use the engine.
    Admission,
    /// It is not passed on: it answers the login of the shared account.
    Login,
    /// Another reply is passed on in its place.
    Instead(Vec<u8>),
}

/// The replies that a request gets.
#[derive(Debug)]
pub(super) enum Replies {
    /// One.
    One(Expected),
    /// This many that change nothing.
    Several(usize),
    /// In RESP2, messages from now on, until the client listens to nothing any more.
    Listens,
    /// Anything, to the end of the connection.
    Stream,
    /// None any more, until the client asks for them again.
    Off,
    /// None to this request and the next one.
    Skip,
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Returns the replies that a request gets from the engine in this protocol.
pub(super) fn replies(argv: &[&[u8]], protocol: Protocol) -> Replies {
    let Some((name, arguments)) = argv.split_first() else {
        return Replies::One(Expected::Nothing);
    };
    let one = match name.len() {
        4 if is(name, "AUTH") => match arguments {
            [password] => Expected::Account(Account {
                user: None,
                password: Some(text(password)),
            }),
            [user, password] => Expected::Account(Account {
                user: Some(text(user)),
                password: Some(text(password)),
            }),
            _ => Expected::Nothing,
        },
        5 if is(name, "HELLO") => hello(arguments),
        6 if is(name, "SELECT") => match arguments {
            [database] => number(database).map_or(Expected::Nothing, Expected::Database),
            _ => Expected::Nothing,
        },
        5 if is(name, "MULTI") => Expected::Multi,
        4 if is(name, "EXEC") => Expected::EndMulti,
        7 if is(name, "DISCARD") => Expected::EndMulti,
        5 if is(name, "WATCH") => Expected::Watch,
        7 if is(name, "UNWATCH") => Expected::Unwatch,
        5 if is(name, "RESET") => Expected::Reset,
        6 if is(name, "CLIENT") => match arguments {
            [word, mode] if is(word, "REPLY") && is(mode, "OFF") => return Replies::Off,
            [word, mode] if is(word, "REPLY") && is(mode, "SKIP") => return Replies::Skip,
            [word, mode] if is(word, "REPLY") && is(mode, "ON") => Expected::RepliesOn,
            _ => Expected::Nothing,
        },
        7 if is(name, "MONITOR") => return Replies::Stream,
        4 | 5 if is(name, "SYNC") || is(name, "PSYNC") => return Replies::Stream,
        9 | 10 if is(name, "SUBSCRIBE") || is(name, "PSUBSCRIBE") || is(name, "SSUBSCRIBE") => {
            return match (protocol, arguments.len()) {
                // An error about the number of arguments.
                (_, 0) => Replies::One(Expected::Nothing),
                (Protocol::Resp2, _) => Replies::Listens,
                // They are pushes, which answer no request.
                (Protocol::Resp3, _) => Replies::Several(0),
            };
        }
        11 | 12
            if is(name, "UNSUBSCRIBE") || is(name, "PUNSUBSCRIBE") || is(name, "SUNSUBSCRIBE") =>
        {
            return Replies::Several(match protocol {
                Protocol::Resp2 => arguments.len().max(1),
                Protocol::Resp3 => 0,
            });
        }
        _ => Expected::Nothing,
    };
    Replies::One(one)
}

fn hello(arguments: &[&[u8]]) -> Expected {
    let Some((version, mut options)) = arguments.split_first() else {
        return Expected::Nothing;
    };
    let protocol = match *version {
        b"2" => Some(Protocol::Resp2),
        b"3" => Some(Protocol::Resp3),
        _ => None,
    };
    let mut account = None;
    while let Some((word, rest)) = options.split_first() {
        options = match rest {
            [user, password, rest @ ..] if is(word, "AUTH") => {
                account = Some(Account {
                    user: Some(text(user)),
                    password: Some(text(password)),
                });
                rest
            }
            [_, rest @ ..] if is(word, "SETNAME") => rest,
            _ => break,
        };
    }
    Expected::Hello(protocol, account)
}
