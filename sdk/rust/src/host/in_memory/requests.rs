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

    /// Answers a request as the host encodes it.
    pub(crate) fn answer(&mut self, words: Vec<Value>) -> Value {
        let mut words = words.into_iter().map(|word| match word {
            Value::Bulk(bytes) => bytes,
            _ => Vec::new(),
        });
        let mut text = || {
            let word = words.next().unwrap_or_default();
            String::from_utf8_lossy(&word).into_owned()
        };
        let (method, url) = (text(), text());
        let body = words.next().unwrap_or_default();
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
