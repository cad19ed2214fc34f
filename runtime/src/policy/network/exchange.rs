//! One request of a function, with its redirections, until its response is complete.

use std::error::Error;
use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper_util::client::legacy::Client;

use super::connect::Connector;
use super::message::{FailureCode, OutgoingRequest, RequestFailure, Response};
use super::method::Method;
use super::options::NetworkLimits;
use super::rule::NetworkRules;
use super::url::HttpUrl;
use ferrite_protocol::error_chain::ErrorChain;

/// Name that the host gives servers, unless the function gives another.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("ferrite-wasm/", env!("CARGO_PKG_VERSION")));

/// Headers that only the origin that a request names gets, and no other to which it is redirected.
const HEADERS_OF_THE_ORIGIN: [header::HeaderName; 3] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];

pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

/// Sends a request and those to which it is redirected, and reads the response.
pub(super) async fn exchange(
    client: &HttpClient,
    limits: &NetworkLimits,
    rules: &NetworkRules,
    mut request: OutgoingRequest,
) -> Result<Response, RequestFailure> {
    let unpacks = add_headers(&mut request.headers);
    let redirects_max = request.redirects.map_or(limits.redirects_max, |asked| {
        asked.min(limits.redirects_max)
    });
    let mut redirects = 0;
    loop {
        let response = send(client, &request).await?;
        let target = redirection(&response).filter(|_| request.redirects != Some(0));
        let Some(location) = target else {
            if !request.reads_body {
                return Ok(without_body(response, request, limits).await);
            }
            return read(response, request, limits, unpacks).await;
        };
        if redirects >= redirects_max {
            return Err(RequestFailure::new(
                FailureCode::Redirect,
                format!("more than {redirects_max} redirections"),
            ));
        }
        redirects += 1;
        let status = response.status().as_u16();
        follow(&mut request, location.as_bytes(), status, rules)?;
    }
}

/// Adds the headers that the host sets. Returns true if the host unpacks the response.
fn add_headers(headers: &mut HeaderMap) -> bool {
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    headers
        .entry(header::ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    // A function that asks for an encoding gets the bytes as they come.
    let unpacks =
        !headers.contains_key(header::ACCEPT_ENCODING) && !headers.contains_key(header::RANGE);
    if unpacks {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    unpacks
}

async fn send(
    client: &HttpClient,
    request: &OutgoingRequest,
) -> Result<hyper::Response<Incoming>, RequestFailure> {
    let mut sending = hyper::Request::new(Full::new(request.body.clone()));
    *sending.method_mut() = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Head => hyper::Method::HEAD,
        Method::Post => hyper::Method::POST,
        Method::Put => hyper::Method::PUT,
        Method::Patch => hyper::Method::PATCH,
        Method::Delete => hyper::Method::DELETE,
        Method::Options => hyper::Method::OPTIONS,
    };
    let url = request.url.to_string();
    *sending.uri_mut() = url.parse().map_err(|_| {
        RequestFailure::new(FailureCode::Invalid, "the URL cannot be sent".to_owned())
    })?;
    let headers = sending.headers_mut();
    *headers = request.headers.clone();
    // The client says the length of a body that is not empty. These methods expect a body, and some servers
    // refuse a request that says nothing of it.
    let expects_body = matches!(request.method, Method::Post | Method::Put | Method::Patch);
    if expects_body && request.body.is_empty() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    client
        .request(sending)
        .await
        .map_err(|error| failure(&error))
}

/// Returns the target of a redirection.
fn redirection<B>(response: &hyper::Response<B>) -> Option<HeaderValue> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    redirects.then(|| response.headers().get(header::LOCATION).cloned())?
}

/// Turns a request into the one that a redirection asks for, if the function may make that.
fn follow(
    request: &mut OutgoingRequest,
    location: &[u8],
    status: u16,
    rules: &NetworkRules,
) -> Result<(), RequestFailure> {
    let refused = |text: String| RequestFailure::new(FailureCode::Redirect, text);
    let location = str::from_utf8(location)
        .map_err(|_| refused("the target of a redirection is not ASCII".to_owned()))?;
    let url = request
        .url
        .join(location)
        .map_err(|error| refused(format!("the target of a redirection: {error}")))?;
    if request.url.https && !url.https {
        return Err(refused(format!(
            "a redirection leads from https to {}",
            url.without_query()
        )));
    }
    let becomes_get = match status {
        303 => request.method != Method::Head,
        301 | 302 => request.method == Method::Post,
        _ => false,
    };
    if becomes_get {
        request.method = Method::Get;
        request.body = Bytes::new();
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
        ] {
            request.headers.remove(name);
        }
    }
    if !rules.allow(request.method, &url) {
        return Err(refused(format!(
            "a redirection leads to {} {}, which allow_network does not allow",
            request.method.as_str(),
            url.without_query()
        )));
    }
    if !url.has_origin_of(&request.url) {
        for name in HEADERS_OF_THE_ORIGIN {
            request.headers.remove(name);
        }
    }
    request.url = url;
    Ok(())
}

/// Returns the head of a response. The body is read to its end only so that the connection can be used
/// again, and not if it is long.
async fn without_body(
    response: hyper::Response<Incoming>,
    request: OutgoingRequest,
    limits: &NetworkLimits,
) -> Response {
    let (parts, mut incoming) = response.into_parts();
    let mut left = limits.response_bytes_max;
    while let Some(Ok(frame)) = incoming.frame().await {
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = left.checked_sub(len) else {
            break;
        };
        left = rest;
    }
    Response {
        status: parts.status.as_u16(),
        url: request.url,
        headers: parts.headers,
        body: Vec::new(),
    }
}

/// Reads the body, unpacked if the host asked for packed bytes.
async fn read(
    response: hyper::Response<Incoming>,
    request: OutgoingRequest,
    limits: &NetworkLimits,
    unpacks: bool,
) -> Result<Response, RequestFailure> {
    let bytes_max = usize::try_from(limits.response_bytes_max).unwrap_or(usize::MAX);
    let (parts, mut incoming) = response.into_parts();
    let mut headers = parts.headers;
    let encoding = headers.get(header::CONTENT_ENCODING);
    let packed =
        unpacks && encoding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let expected = incoming.size_hint().lower();
    if expected > bytes_max as u64 && request.method != Method::Head {
        return Err(too_long(bytes_max));
    }
    let mut body = if packed {
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        Body::Packed(Box::new(MultiGzDecoder::new(Bounded::new(bytes_max))), 0)
    } else {
        Body::Plain(Bounded::new(bytes_max))
    };
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        if let Some(data) = frame.data_ref() {
            body.write(data, bytes_max)?;
        }
    }
    Ok(Response {
        status: parts.status.as_u16(),
        url: HttpUrl { ..request.url },
        headers,
        body: body.finish(bytes_max)?,
    })
}

/// A body that is read.
enum Body {
    Plain(Bounded),
    /// Carries the number of packed bytes so far.
    Packed(Box<MultiGzDecoder<Bounded>>, u64),
}

impl Body {
    fn write(&mut self, data: &[u8], bytes_max: usize) -> Result<(), RequestFailure> {
        let written = match self {
            Self::Plain(body) => body.write_all(data),
            Self::Packed(decoder, packed) => {
                // Empty members take bytes and give none.
                *packed = packed.saturating_add(data.len() as u64);
                if *packed > bytes_max as u64 {
                    return Err(too_long(bytes_max));
                }
                decoder.write_all(data)
            }
        };
        written.map_err(|error| unreadable(&error, bytes_max))
    }

    fn finish(self, bytes_max: usize) -> Result<Vec<u8>, RequestFailure> {
        match self {
            Self::Plain(body) => Ok(body.bytes),
            // A response to HEAD, or without a body, has nothing to unpack.
            Self::Packed(_, 0) => Ok(Vec::new()),
            Self::Packed(decoder, _) => decoder
                .finish()
                .map(|body| body.bytes)
                .map_err(|error| unreadable(&error, bytes_max)),
        }
    }
}

/// Collects at most `bytes_max` bytes.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Bounded {
    const fn new(bytes_max: usize) -> Self {
        let bytes = Vec::new();
        Self { bytes, bytes_max }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.bytes_max - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_long(bytes_max: usize) -> RequestFailure {
    let text = format!("the response has more than {bytes_max} bytes; raise max_response");
    RequestFailure::new(FailureCode::Limit, text)
}

fn unreadable(error: &io::Error, bytes_max: usize) -> RequestFailure {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return too_long(bytes_max);
    }
    let text = format!("the response cannot be unpacked: {error}");
    RequestFailure::new(FailureCode::Protocol, text)
}

/// Returns the failure that an error of the client means.
fn failure(error: &(dyn Error + 'static)) -> RequestFailure {
    let mut cause = Some(error);
    while let Some(one) = cause {
        if let Some(failure) = one.downcast_ref::<RequestFailure>() {
            return failure.clone();
        }
        cause = one.source();
    }
    RequestFailure::new(FailureCode::Protocol, ErrorChain(error).to_string())
}
