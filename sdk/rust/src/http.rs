//! Requests to other servers.
//!
//! A function makes the requests that its permission `allow_network` lists, and the server's
//! configuration allows. A request is sent once for its call: a call that is run again because of a
//! conflict gets the response that it got before.
//!
//! ```
//! use ferrite_wasm_sdk::*;
//!
//! #[ferrite_function]
//! pub fn rate(currency: &str) -> Result<f64, Error> {
//!     let url = format!("https://rates.example.com/v1/{currency}");
//!     let response = http::get(url).header("accept", "text/plain").timeout_millis(500).send()?;
//!     if !response.is_success() {
//!         return Err(Error::new(format!("no rate: status {}", response.status())));
//!     }
//!     Ok(response.text()?.trim().parse()?)
//! }
//!
//! let store = mock::Store::new();
//! store.respond("GET", "https://rates.example.com/v1/chf", 200, "0.93\n");
//! assert_eq!(rate("chf"), Ok(0.93));
//! ```

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use ferrite_wasm_abi::Status;

use crate::argument::{ArgumentList, Decimal};
use crate::error::Error;
use crate::host;
use crate::host::result_buffer::read;
use crate::value::Value;
use crate::value::decode::decode;
use crate::value::from_value::{FromValue, Mismatch};

/// A request that is being made.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `send`"]
pub struct Request {
    method: String,
    url: Vec<u8>,
    body: Vec<u8>,
    /// Names and values; names with a colon first are options.
    headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Begins a `GET` request.
pub fn get(url: impl AsRef<[u8]>) -> Request {
    Request::new("GET", url)
}

/// Begins a `POST` request.
pub fn post(url: impl AsRef<[u8]>) -> Request {
    Request::new("POST", url)
}

/// Begins a `PUT` request.
pub fn put(url: impl AsRef<[u8]>) -> Request {
    Request::new("PUT", url)
}

/// Begins a `DELETE` request.
pub fn delete(url: impl AsRef<[u8]>) -> Request {
    Request::new("DELETE", url)
}

impl Request {
    /// Begins a request with any method: `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`.
    pub fn new(method: &str, url: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            url: url.as_ref().to_owned(),
            body: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Limits the duration of the request. The server's own limit stays in force.
    pub fn timeout_millis(self, millis: u32) -> Self {
        self.header(":timeout", Decimal::of(millis.into()).text())
    }

    /// Limits the number of redirections that are followed; with 0, they are responses like others.
    pub fn redirects_max(self, count: u32) -> Self {
        self.header(":redirects", Decimal::of(count.into()).text())
    }

    /// Sends the request and waits for the response, whatever its status is.
    ///
    /// # Errors
    ///
    /// `NOPERM` if the permissions do not list the request. Otherwise the reason why there is no
    /// response: `INVALID`, `LIMIT`, `ADDRESS`, `DNS`, `CONNECT`, `TLS`, `TIMEOUT`, `REDIRECT`,
    /// `PROTOCOL` or `UNAVAILABLE`.
    pub fn send(&self) -> Result<Response, Error> {
        let mut list = ArgumentList::new();
        let request = self.write(&mut list);
        let failed = |code| Error::of_status(code, "http", &self.url);
        match read::<Answer>(|buffer| host::http(request, buffer)).map_err(failed)? {
            Some(Ok(Answer(Ok(response)))) => Ok(response),
            Some(Ok(Answer(Err(text)))) => Err(Error::of_reply(text)),
            _ => Err(failed(Status::Store.code().into())),
        }
    }

    /// Makes the request a part of what the call commits, and returns its idempotency key.
    ///
    /// If the call commits, the host sends the request afterwards, and again until the server accepts it
    /// by a status from 200 to 299. It may arrive more than once, each time with the same header
    /// `idempotency-key`: the one that the request has, or a random one. Nothing is sent for a call that
    /// fails.
    ///
    /// ```
    /// use ferrite_wasm_sdk::*;
    ///
    /// #[ferrite_function]
    /// pub fn order(key: &str, item: &str) -> Result<(), Error> {
    ///     ferrite::set(key, item)?;
    ///     http::post("https://shop.example.com/orders").body(item).after_commit()?;
    ///     Ok(())
    /// }
    ///
    /// let store = mock::Store::new();
    /// assert_eq!(order("order:1", "tea"), Ok(()));
    /// let (method, url, body) = &store.after_commit()[0];
    /// assert_eq!((method.as_str(), url.as_str()), ("POST", "https://shop.example.com/orders"));
    /// assert_eq!(body, b"tea");
    /// ```
    ///
    /// # Errors
    ///
    /// `NOPERM` if the permissions do not list the request, `INVALID`, `LIMIT`, or `UNAVAILABLE` if the
    /// server has no outbox or the call may only read.
    pub fn after_commit(&self) -> Result<String, Error> {
        let mut list = ArgumentList::new();
        let request = self.write(&mut list);
        let failed = |code| Error::of_status(code, "after_commit", &self.url);
        match read::<Key>(|buffer| host::after_commit(request, buffer)).map_err(failed)? {
            Some(Ok(Key(Ok(key)))) => Ok(key),
            Some(Ok(Key(Err(text)))) => Err(Error::of_reply(text)),
            _ => Err(failed(Status::Store.code().into())),
        }
    }

    /// Writes the request as the host reads it.
    fn write<'l>(&self, list: &'l mut ArgumentList) -> &'l [u8] {
        list.item(self.method.as_bytes());
        list.item(&self.url);
        list.item(&self.body);
        for (name, value) in &self.headers {
            list.item(name);
            list.item(value);
        }
        list.finish()
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    /// Returns the status, such as 200.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns true if the status is from 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the URL that answered, which redirections may have changed.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the first value of a header; `None` if there is none, or if it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        core::str::from_utf8(value).ok()
    }

    /// Returns the names and values of all headers, in order. The names are in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the body without a copy.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Returns the body as text.
    ///
    /// # Errors
    ///
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        core::str::from_utf8(&self.body)
            .map_err(|_| Error::new("the body of the response is not UTF-8"))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// It is no JSON, or not of this type.
    #[cfg(feature = "serde")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// Reads a response as the host encodes it.
    fn decode(items: Vec<Value>) -> Option<Self> {
        let mut items = items.into_iter();
        let Some(Value::Int(status)) = items.next() else {
            return None;
        };
        let mut bytes = || match items.next() {
            Some(Value::Bulk(bytes)) => Some(bytes),
            _ => None,
        };
        let url = String::from_utf8(bytes()?).ok()?;
        let body = bytes()?;
        let mut headers = Vec::new();
        while let Some(name) = bytes() {
            headers.push((String::from_utf8(name).ok()?, bytes()?));
        }
        Some(Self {
            status: u16::try_from(status).ok()?,
            url,
            headers,
            body,
        })
    }
}

/// The host's answer: a response, or the text of an error.
struct Answer(Result<Response, String>);

impl FromValue for Answer {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        match decode(bytes) {
            Some(Value::Error(text)) => Some(Self(Err(text))),
            Some(Value::Array(items)) => Response::decode(items).map(|response| Self(Ok(response))),
            _ => None,
        }
        .ok_or_else(|| Mismatch::new("a response", bytes))
    }
}

/// The host's answer to a request to be sent later: its idempotency key, or the text of an error.
struct Key(Result<String, String>);

impl FromValue for Key {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        match decode(bytes) {
            Some(Value::Error(text)) => Some(Self(Err(text))),
            Some(Value::Bulk(key)) => String::from_utf8(key).ok().map(|key| Self(Ok(key))),
            _ => None,
        }
        .ok_or_else(|| Mismatch::new("an idempotency key", bytes))
    }
}
