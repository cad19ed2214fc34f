//! Requests of functions, and the responses that a test has prepared for them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::value::Value;

/// The requests of a store.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    prepared: Vec<Prepared>,
    /// Method, URL and body of each request, oldest first.
    made: Vec<(String, String, Vec<u8>)>,
    /// Those of each request that is to be sent after its call.
    added: Vec<(String, String, Vec<u8>)>,
}

#[derive(Debug)]
struct Prepared {
    method: String,
    url: String,
    status: u16,
    body: Vec<u8>,
}

impl Requests {
    /// Prepares the response of every request with this method and URL. A later response takes the
    /// place of an earlier one.
    pub(crate) fn prepare(&mut self, method: &str, url: &str, status: u16, body: Vec<u8>) {
        self.prepared.push(Prepared {
            method: method.to_string(),
            url: url.to_string(),
            status,
            body,
        });
    }

    /// Method, URL and body of each request, oldest first.
    pub(crate) fn made(&self) -> &[(String, String, Vec<u8>)] {
        &self.made
    }

    /// Method, URL and body of each request that is to be sent after its call, oldest first.
    pub(crate) fn added(&self) -> &[(String, String, Vec<u8>)] {
        &self.added
    }

    /// Takes a request that is to be sent after its call, and replies its idempotency key: its own, or
    /// one with its number.
    pub(crate) fn add(&mut self, words: Vec<Value>) -> Value {
        let mut headers = words.iter().skip(3);
        let mut key = None;
        while let (Some(Value::Bulk(name)), Some(value)) = (headers.next(), headers.next()) {
            if name.eq_ignore_ascii_case(b"idempotency-key") {
                key = Some(value.clone());
            }
        }
        self.added.push(parts(words));
        let number = self.added.len();
        key.unwrap_or_else(|| Value::from(format!("00000000-0000-4000-8000-{number:012}").as_str()))
    }

    /// Answers a request as the host encodes it.
    pub(crate) fn answer(&mut self, words: Vec<Value>) -> Value {
        let (method, url, body) = parts(words);
        let prepared = self
            .prepared
            .iter()
            .rfind(|prepared| prepared.method == method && prepared.url == url);
        let answer = match prepared {
            Some(prepared) => Value::Array(vec![
                Value::Int(prepared.status.into()),
                Value::from(url.as_str()),
                Value::Bulk(prepared.body.clone()),
            ]),
            None => Value::Error(format!(
                "CONNECT the test has no response for {method} {url}; prepare one with Store::respond"
            )),
        };
        self.made.push((method, url, body));
        answer
    }
}

/// Returns method, URL and body of a request as the host encodes it.
fn parts(words: Vec<Value>) -> (String, String, Vec<u8>) {
    let mut words = words.into_iter().map(|word| match word {
        Value::Bulk(bytes) => bytes,
        _ => Vec::new(),
    });
    let mut text = || {
        let word = words.next().unwrap_or_default();
        String::from_utf8_lossy(&word).into_owned()
    };
    let (method, url) = (text(), text());
    (method, url, words.next().unwrap_or_default())
}
