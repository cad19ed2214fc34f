//! Reads a line of usage, `name [TIMEOUT ms] [KEYS key …]`, into the arguments for `COMMAND DOCS`.
//!
//! Square brackets enclose optional arguments, `|` separates choices, `…` or `...` repeats the
//! argument before it, words in capitals stand for themselves.

use ferrite_protocol::resp::Encoder;

/// One argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Argument {
    name: String,
    kind: Kind,
    token: Option<String>,
    optional: bool,
    multiple: bool,
    parts: Vec<Argument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Any text.
    Text,
    /// A fixed word.
    Token,
    /// Several arguments together.
    Block,
    /// One of several arguments.
    OneOf,
}

impl Argument {
    fn new(kind: Kind, name: &str) -> Self {
        Self {
            name: name.to_ascii_lowercase(),
            kind,
            token: None,
            optional: false,
            multiple: false,
            parts: Vec::new(),
        }
    }

    fn word(word: &str) -> Self {
        if is_token(word) {
            let mut argument = Self::new(Kind::Token, word);
            argument.token = Some(word.to_owned());
            argument
        } else {
            Self::new(Kind::Text, word)
        }
    }

    /// Joins several arguments into one; `None` if there are none.
    fn joined(mut parts: Vec<Self>, kind: Kind) -> Option<Self> {
        if parts.len() < 2 {
            return parts.pop();
        }
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        let mut joined = Self::new(kind, &names.join("-"));
        joined.parts = parts;
        Some(joined)
    }

    /// Returns the smallest number of words.
    #[cfg(test)]
    pub(in crate::commands) fn words_min(&self) -> usize {
        let parts = self.parts.iter().map(Self::words_min);
        match self.kind {
            _ if self.optional => 0,
            Kind::Block => parts.sum(),
            Kind::OneOf => parts.min().unwrap_or(0),
            Kind::Token => 1,
            Kind::Text => 1 + usize::from(self.token.is_some()),
        }
    }

    /// Returns true if more words than that are possible.
    #[cfg(test)]
    pub(in crate::commands) fn is_open(&self) -> bool {
        self.optional || self.multiple || self.parts.iter().any(Self::is_open)
    }

    /// Writes the argument as `COMMAND DOCS` shows it.
    pub(in crate::commands) fn write(&self, reply: &mut Encoder) {
        let Self {
            name,
            kind,
            token,
            optional,
            multiple,
            parts,
        } = self;
        let flags = usize::from(*optional) + usize::from(*multiple);
        let pairs = 2
            + usize::from(token.is_some())
            + usize::from(flags > 0)
            + usize::from(!parts.is_empty());
        reply.map(pairs);
        reply.bulk(b"name");
        reply.bulk(name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(match kind {
            Kind::Text => b"string",
            Kind::Token => b"pure-token",
            Kind::Block => b"block",
            Kind::OneOf => b"oneof",
        });
        if let Some(token) = token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if flags > 0 {
            reply.bulk(b"flags");
            reply.array(flags);
            if *optional {
                reply.simple("optional");
            }
            if *multiple {
                reply.simple("multiple");
            }
        }
        if !parts.is_empty() {
            reply.bulk(b"arguments");
            reply.array(parts.len());
            for part in parts {
                part.write(reply);
            }
        }
    }
}

fn is_token(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && !word.contains(|letter: char| letter.is_ascii_lowercase())
}

/// Reads the arguments of a line of usage. Only the tables of commands are read, so nesting is
/// bounded.
pub(in crate::commands) fn parse(usage: &str) -> Vec<Argument> {
    let spaced = usage
        .replace('[', " [ ")
        .replace(']', " ] ")
        .replace('|', " | ");
    sequence(&mut spaced.split_ascii_whitespace())
}

/// Reads arguments up to a closing bracket or the end.
fn sequence<'a>(words: &mut impl Iterator<Item = &'a str>) -> Vec<Argument> {
    // Each group holds the choices for one argument.
    let mut groups: Vec<Vec<Argument>> = Vec::new();
    let mut choosing = false;
    while let Some(word) = words.next() {
        let argument = match word {
            "]" => break,
            "|" => {
                choosing = true;
                continue;
            }
            "…" | "..." => {
                if let Some(last) = groups.last_mut().and_then(|group| group.last_mut()) {
                    last.multiple = true;
                }
                continue;
            }
            "[" => {
                let inner = sequence(words);
                // `[key …]` after `key` only means that the key can be repeated.
                if let ([inner], Some([last])) =
                    (inner.as_slice(), groups.last_mut().map(Vec::as_mut_slice))
                    && inner.multiple
                    && inner.name == last.name
                {
                    last.multiple = true;
                    continue;
                }
                match Argument::joined(inner, Kind::Block) {
                    Some(group) => Argument {
                        optional: true,
                        ..group
                    },
                    None => continue,
                }
            }
            word => Argument::word(word),
        };
        match groups.last_mut() {
            Some(group) if choosing => group.push(argument),
            _ => groups.push(vec![argument]),
        }
        choosing = false;
    }
    with_tokens(
        groups
            .into_iter()
            .filter_map(|group| Argument::joined(group, Kind::OneOf)),
    )
}

/// Joins each word in capitals with the argument after it into one argument with a token.
fn with_tokens(arguments: impl Iterator<Item = Argument>) -> Vec<Argument> {
    let mut joined: Vec<Argument> = Vec::new();
    for mut argument in arguments {
        let takes_token = match argument.kind {
            Kind::Text => true,
            Kind::OneOf => argument.parts.iter().all(|part| part.kind == Kind::Text),
            Kind::Token | Kind::Block => false,
        };
        if takes_token
            && let Some(last) = joined.pop_if(|last| last.kind == Kind::Token && !last.optional)
        {
            argument.token = last.token;
        }
        joined.push(argument);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{Argument, Kind, parse};

    /// Writes the arguments in a notation for this test.
    fn shown(arguments: &[Argument]) -> String {
        let shown: Vec<String> = arguments
            .iter()
            .map(|argument| {
                let mut text = match argument.kind {
                    Kind::Text => argument.name.clone(),
                    Kind::Token => String::new(),
                    Kind::Block => format!("({})", shown(&argument.parts)),
                    Kind::OneOf => format!("<{}>", shown(&argument.parts)),
                };
                if let Some(token) = &argument.token {
                    text = format!("{token}:{text}");
                }
                if argument.optional {
                    text.push('?');
                }
                if argument.multiple {
                    text.push('+');
                }
                text
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn usage_is_read() {
        for (usage, arguments) in [
            ("", ""),
            ("message", "message"),
            ("[message]", "message?"),
            (
                "key value [NX|XX] [EX seconds]",
                "key value <NX: XX:>? EX:seconds?",
            ),
            (
                "name [TIMEOUT ms] [KEYS key …]",
                "name TIMEOUT:ms? KEYS:key?+",
            ),
            ("key [key …]", "key+"),
            (
                "[AUTH username password] [SETNAME name]",
                "(AUTH:username password)? SETNAME:name?",
            ),
            (
                "ISOLATION rewind|fresh|reuse",
                "ISOLATION:<rewind fresh reuse>",
            ),
            ("ID|INFO|HELP [argument …]", "<ID: INFO: HELP:> argument?+"),
        ] {
            assert_eq!(shown(&parse(usage)), arguments, "{usage}");
        }
    }
}
