//! Methods of requests.

use std::fmt;

/// A method that a function may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    const ALL: [Self; 7] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
    ];

    /// Reads a method, in upper case as HTTP has them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// Returns the method as HTTP has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// A set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Methods(u8);

impl Methods {
    /// Every method.
    pub(crate) const ALL: Self = Self(0x7f);

    /// Reads methods with commas between them. The error is the word that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, Box<str>> {
        text.split(',').try_fold(Self(0), |methods, word| {
            let method = Method::parse(word).ok_or_else(|| Box::from(word))?;
            Ok(Self(methods.0 | 1 << method as u8))
        })
    }

    pub(crate) const fn has(self, method: Method) -> bool {
        self.0 & (1 << method as u8) != 0
    }

    pub(crate) const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for method in Method::ALL {
            if self.has(method) {
                write!(out, "{between}{}", method.as_str())?;
                between = ", ";
            }
        }
        Ok(())
    }
}
