//! The users of the configuration, and their rights.

mod password;

use std::fmt;

pub use password::{PasswordError, PasswordHash};

use crate::config::setting::{Raw, Setting};

/// The rights of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

/// One right of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Run commands that only read data.
    Read = 1,
    /// Run commands that write data.
    Write = 2,
    /// Call functions and read their figures.
    Call = 4,
    /// Load, replace, remove, profile and kill functions.
    Manage = 8,
    /// Administer the server: see and close other connections, read its configuration, stop it.
    Admin = 16,
}

impl Right {
    /// Every right, in the order in which they are written.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::Call,
        Self::Manage,
        Self::Admin,
    ];

    /// Returns its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Call => "call",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }
}

impl Rights {
    /// Returns every right.
    #[must_use]
    pub fn all() -> Self {
        Right::ALL.into_iter().fold(Self::default(), Self::with)
    }

    /// Returns these rights and `right`.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        Self(self.0 | right as u8)
    }

    /// Returns true if `right` is among them.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Right::ALL
            .into_iter()
            .filter(|&right| self.has(right))
            .map(Right::name)
            .collect();
        out.write_str(&names.join("+"))
    }
}

/// A user of the configuration: `NAME may=RIGHTS password_hash=HASH [keys=GLOBS] [functions=GLOBS]`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// The name.
    pub name: String,
    /// The user's rights.
    pub rights: Rights,
    /// The password's hash.
    pub password: PasswordHash,
    /// Globs of the keys that the user may access; none for all.
    pub keys: Vec<String>,
    /// Globs of the functions that the user may call; none for all.
    pub functions: Vec<String>,
}

impl fmt::Debug for UserSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "UserSpec({} may={})", self.name, self.rights)
    }
}

impl UserSpec {
    /// Reads a user. The error says which part is wrong, without the password.
    fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let name = words
            .next()
            .filter(|name| !name.contains(['=', '"', '\'', '[', ']', ',']))
            .ok_or("it does not begin with a name, which has no quote, bracket, comma or =")?
            .to_owned();
        let wrong = |problem: String| format!("user {name}: {problem}");
        let (mut rights, mut password, mut functions, mut keys) = (None, None, None, None);
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| wrong("a word is no KEY=VALUE".to_owned()))?;
            let globs = || value.split('+').map(str::to_owned).collect();
            let doubled = match key {
                "may" => rights
                    .replace(parse_rights(value).map_err(wrong)?)
                    .is_some(),
                "password" => password
                    .replace(PasswordHash::blake3(value.as_bytes()))
                    .is_some(),
                "password_blake3" | "password_hash" => {
                    let hash = PasswordHash::parse(value).ok_or_else(|| {
                        wrong(format!(
                            "{key} is no hash; ferrite-server hash-password makes one"
                        ))
                    })?;
                    password.replace(hash).is_some()
                }
                "functions" => functions.replace(globs()).is_some(),
                "keys" => keys.replace(globs()).is_some(),
                _ => {
                    return Err(wrong(format!(
                        "there is no {key:?}; there are may, password, password_hash, keys and functions"
                    )));
                }
            };
            if doubled {
                return Err(wrong(format!("{key} is given twice")));
            }
        }
        Ok(Self {
            rights: rights.ok_or_else(|| wrong("may=RIGHTS is missing".to_owned()))?,
            password: password.ok_or_else(|| wrong("password_hash=HASH is missing".to_owned()))?,
            keys: keys.unwrap_or_default(),
            functions: functions.unwrap_or_default(),
            name,
        })
    }
}

fn parse_rights(text: &str) -> Result<Rights, String> {
    if text == "all" {
        return Ok(Rights::all());
    }
    text.split('+').try_fold(Rights::default(), |rights, name| {
        Right::ALL
            .into_iter()
            .find(|right| right.name() == name)
            .map(|right| rights.with(right))
            .ok_or_else(|| {
                format!(
                    "there is no right {name:?}; there are read, write, call, manage, admin and all"
                )
            })
    })
}

impl fmt::Display for UserSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            rights,
            password,
            keys,
            functions,
        } = self;
        write!(out, "{name} may={rights} password_hash={password}")?;
        if !keys.is_empty() {
            write!(out, " keys={}", keys.join("+"))?;
        }
        if !functions.is_empty() {
            write!(out, " functions={}", functions.join("+"))?;
        }
        Ok(())
    }
}

impl Setting for Vec<UserSpec> {
    const KIND: &'static str =
        "a list of users, each \"NAME may=read+write+call+manage+admin password=TEXT\"";

    const SECRET: bool = true;

    const LIST: bool = true;

    fn read(raw: &Raw) -> Option<Self> {
        read_users(raw).ok()
    }

    fn problem(raw: &Raw) -> Option<String> {
        read_users(raw).err()
    }

    fn write(&self) -> String {
        let texts: Vec<String> = self.iter().map(UserSpec::to_string).collect();
        Setting::write(&texts)
    }
}

/// Reads a list of users. The error says what is wrong, without passwords.
fn read_users(raw: &Raw) -> Result<Vec<UserSpec>, String> {
    let texts = <Vec<String> as Setting>::read(raw).ok_or("it is no list of texts")?;
    let mut users: Vec<UserSpec> = Vec::new();
    for text in rejoined(texts) {
        let user = UserSpec::parse(&text)?;
        if users.iter().any(|other| other.name == user.name) {
            return Err(format!("user {} is given twice", user.name));
        }
        users.push(user);
    }
    Ok(users)
}

/// Joins the parts of a slow hash, which flags and variables split at the commas in it.
fn rejoined(texts: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for text in texts {
        match joined.last_mut() {
            Some(last) if text.starts_with("t=") || text.starts_with("p=") => {
                last.push(',');
                last.push_str(&text);
            }
            _ => joined.push(text),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{PasswordHash, Raw, Right, Rights, Setting, UserSpec};

    fn read(text: &str) -> Option<Vec<UserSpec>> {
        Setting::read(&Raw::List(vec![text.to_owned()]))
    }

    #[test]
    fn a_user_is_read_and_written() {
        let users = read("app may=read+call password=s3cret functions=rate_*+stats keys=app:*")
            .expect("right");
        assert_eq!(users[0].name, "app");
        assert_eq!(users[0].password, PasswordHash::blake3(b"s3cret"));
        assert_eq!(users[0].functions, ["rate_*", "stats"]);
        assert_eq!(users[0].keys, ["app:*"]);
        assert!(users[0].rights.has(Right::Call) && !users[0].rights.has(Right::Write));
        assert!(!users.write().contains("s3cret"));
        let again = read(&users[0].to_string()).expect("written by us");
        assert_eq!(again, users);
        assert_eq!(
            read("ops may=all password=x").expect("right")[0].rights,
            Rights::all()
        );
    }

    #[test]
    fn a_slow_hash_survives_the_commas_of_a_flag() {
        let hash = PasswordHash::slow(b"x").expect("memory");
        let text = format!("a may=all password_hash={hash},b may=read password=y");
        let users = <Vec<UserSpec> as Setting>::read(&Raw::Text(text)).expect("two users");
        assert_eq!((users.len(), &users[0].password), (2, &hash));
    }

    #[test]
    fn what_is_wrong_with_a_user_is_said_without_the_password() {
        for (text, part) in [
            ("app may=raed password=s3cret", "there is no right \"raed\""),
            (
                "app may=read password_hash=s3cret",
                "ferrite-server hash-password",
            ),
            (
                "app may=read password=s3cret colour=red",
                "there is no \"colour\"",
            ),
            ("app may=read", "password_hash=HASH is missing"),
            ("app password=s3cret", "may=RIGHTS is missing"),
        ] {
            let raw = Raw::List(vec![text.to_owned()]);
            let problem = <Vec<UserSpec> as Setting>::problem(&raw).expect("a problem");
            assert!(
                problem.contains(part) && problem.contains("app"),
                "{problem}"
            );
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn half_a_user_is_refused() {
        for text in [
            "",
            "app",
            "app may=read",
            "app password=x",
            "app may=fly password=x",
            "app may= password=x",
            "app may=read password=x password=y",
            "app may=read password_blake3=12",
            "app may=read password=x colour=red",
            "may=read password=x",
            "app may",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let twice = Raw::List(vec![
            "a may=read password=x".into(),
            "a may=all password=x".into(),
        ]);
        assert!(<Vec<UserSpec> as Setting>::read(&twice).is_none());
    }
}
