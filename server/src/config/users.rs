//! The users of the configuration, and their rights.

use std::fmt;

use super::setting::{Raw, Setting};

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

/// A user of the configuration: `NAME may=RIGHTS password=TEXT [functions=GLOBS]`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// The name.
    pub name: String,
    /// The user's rights.
    pub rights: Rights,
    /// The password's blake3 hash.
    pub password: blake3::Hash,
    /// Globs of the functions that the user may call; none for all.
    pub functions: Vec<String>,
}

impl fmt::Debug for UserSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "UserSpec({} may={})", self.name, self.rights)
    }
}

impl UserSpec {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().filter(|name| !name.contains('='))?.to_owned();
        let (mut rights, mut password, mut functions) = (None, None, None);
        for word in words {
            let (key, value) = word.split_once('=')?;
            let doubled = match key {
                "may" => rights.replace(parse_rights(value)?).is_some(),
                "password" => password.replace(blake3::hash(value.as_bytes())).is_some(),
                "password_blake3" => password
                    .replace(blake3::Hash::from_hex(value).ok()?)
                    .is_some(),
                "functions" => functions
                    .replace(value.split('+').map(str::to_owned).collect())
                    .is_some(),
                _ => return None,
            };
            if doubled {
                return None;
            }
        }
        Some(Self {
            name,
            rights: rights?,
            password: password?,
            functions: functions.unwrap_or_default(),
        })
    }
}

fn parse_rights(text: &str) -> Option<Rights> {
    if text == "all" {
        return Some(Rights::all());
    }
    text.split('+').try_fold(Rights::default(), |rights, name| {
        Right::ALL
            .into_iter()
            .find(|right| right.name() == name)
            .map(|right| rights.with(right))
    })
}

impl fmt::Display for UserSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            rights,
            password,
            functions,
        } = self;
        write!(
            out,
            "{name} may={rights} password_blake3={}",
            password.to_hex()
        )?;
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
        let users: Self = <Vec<String> as Setting>::read(raw)?
            .iter()
            .map(|text| UserSpec::parse(text))
            .collect::<Option<_>>()?;
        let twice = users
            .iter()
            .enumerate()
            .any(|(index, user)| users[..index].iter().any(|other| other.name == user.name));
        (!twice).then_some(users)
    }

    fn write(&self) -> String {
        let texts: Vec<String> = self.iter().map(UserSpec::to_string).collect();
        Setting::write(&texts)
    }
}

#[cfg(test)]
mod tests {
    use super::{Raw, Right, Rights, Setting, UserSpec};

    fn read(text: &str) -> Option<Vec<UserSpec>> {
        Setting::read(&Raw::List(vec![text.to_owned()]))
    }

    #[test]
    fn a_user_is_read_and_written() {
        let users =
            read("app may=read+call password=s3cret functions=rate_*+stats").expect("right");
        assert_eq!(users[0].name, "app");
        assert_eq!(users[0].password, blake3::hash(b"s3cret"));
        assert_eq!(users[0].functions, ["rate_*", "stats"]);
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
