//! Functions of a component that knows standard interfaces alone: `wasi:http`, `wasi:keyvalue`, `wasi:config` and
//! `wasi:filesystem`, the latter by Rust's own library too.

mod descriptors;
mod files;
mod misuse;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::poll;
use wasip2::io::streams::StreamError;

use wasi::config::store as config;
use wasi::keyvalue::{atomics, batch, store};

wit_bindgen::generate!({
    path: ["../../../../sdk/wit", "wit"],
    world: "tests:standard/standard",
    generate_all,
});

struct Standard;

export!(Standard);

type Reply = Result<Vec<Item>, String>;

impl Guest for Standard {
    /// `ARGS method scheme authority path [body] [timeout-ms]`: replies the status, the headers and the
    /// body, or the error's name.
    fn fetch(input: Input) -> Reply {
        let text = |index: usize| {
            input.args.get(index).map_or("", |arg| {
                std::str::from_utf8(arg).expect("arguments are text")
            })
        };
        let request = match request(text(0), text(1), text(2), text(3)) {
            Ok(request) => request,
            Err(part) => return Ok(vec![Item::Error(format!("REFUSED {part}"))]),
        };
        let options = RequestOptions::new();
        if let Ok(millis) = text(5).parse::<u64>() {
            options
                .set_first_byte_timeout(Some(millis * 1_000_000))
                .expect("it is supported");
        }
        let body = input.args.get(4).filter(|body| !body.is_empty());
        Ok(match send(request, body.map(Vec::as_slice), options) {
            Ok(response) => shown(response),
            Err(code) => vec![Item::Error(format!("FAILED {code:?}"))],
        })
    }

    /// `ARGS [name]`: replies the value of this name, or all names with their values.
    fn configured(input: Input) -> Reply {
        if let Some(name) = input.args.first() {
            let name = str::from_utf8(name).expect("arguments are text");
            let value = config::get(name).map_err(|error| format!("ERR {error:?}"))?;
            return Ok(vec![value.map_or(Item::Null, Item::Simple)]);
        }
        let all = config::get_all().map_err(|error| format!("ERR {error:?}"))?;
        Ok(texts(
            all.into_iter()
                .map(|(name, value)| format!("{name}={value}")),
        ))
    }

    /// `ARGS what …`: replies what was seen, as an array of texts.
    fn files(input: Input) -> Reply {
        let args: Vec<&str> = input
            .args
            .iter()
            .map(|arg| str::from_utf8(arg).expect("arguments are text"))
            .collect();
        Ok(texts(files::run(&args)))
    }

    fn misuse(input: Input) -> Reply {
        misuse::run(&input)
    }

    /// `KEYS name`: counts a visit, with a list of the last visitors.
    fn visits(input: Input) -> Reply {
        fn failed(error: store::Error) -> String {
            format!("ERR {error:?}")
        }
        let name = String::from_utf8(input.keys[0].clone()).map_err(|error| error.to_string())?;
        let bucket = store::open("visits").map_err(failed)?;
        let count = atomics::increment(&bucket, "count", 1).map_err(failed)?;
        let mut cas = atomics::Cas::new(&bucket, "last").map_err(failed)?;
        loop {
            let mut last = cas.current().map_err(failed)?.unwrap_or_default();
            last.extend_from_slice(name.as_bytes());
            match atomics::swap(cas, &last) {
                Ok(()) => break,
                Err(atomics::CasError::CasFailed(again)) => cas = again,
                Err(atomics::CasError::StoreError(error)) => return Err(failed(error)),
            }
        }
        batch::set_many(&bucket, &[(name.clone(), count.to_string().into_bytes())])
            .map_err(failed)?;
        let mut keys = bucket.list_keys(None).map_err(failed)?.keys;
        keys.sort();
        let mut reply = vec![Item::Array(keys.len() as u32)];
        for (key, value) in batch::get_many(&bucket, &keys).map_err(failed)? {
            let value = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
            reply.push(Item::Simple(format!("{key}={value}")));
        }
        Ok(reply)
    }
}

/// Replies an array of texts.
fn texts(all: impl IntoIterator<Item = String>) -> Vec<Item> {
    let mut reply = vec![Item::Array(0)];
    reply.extend(all.into_iter().map(Item::Simple));
    reply[0] = Item::Array(reply.len() as u32 - 1);
    reply
}

/// Builds a request, or names the part that is refused.
fn request(
    method: &str,
    scheme: &str,
    authority: &str,
    path: &str,
) -> Result<OutgoingRequest, &'static str> {
    let headers = Fields::new();
    headers
        .append("X-Asked", b"yes")
        .expect("it is a good header");
    let request = OutgoingRequest::new(headers);
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "TRACE" => Method::Trace,
        other => Method::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(|()| "method")?;
    let scheme = match scheme {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        "" => None,
        other => Some(Scheme::Other(other.to_owned())),
    };
    request.set_scheme(scheme.as_ref()).map_err(|()| "scheme")?;
    request
        .set_authority(Some(authority))
        .map_err(|()| "authority")?;
    request
        .set_path_with_query(Some(path))
        .map_err(|()| "path")?;
    Ok(request)
}

/// Hands a request over, writes its body, and waits for the response: the order that clients use.
fn send(
    request: OutgoingRequest,
    content: Option<&[u8]>,
    options: RequestOptions,
) -> Result<IncomingResponse, ErrorCode> {
    let body = content.map(|content| (request.body().expect("it is the first"), content));
    let future = outgoing_handler::handle(request, Some(options))?;
    if let Some((body, content)) = body {
        write(&body, content);
        OutgoingBody::finish(body, None)?;
    }
    let ready = future.subscribe();
    assert_eq!(poll::poll(&[&ready]), [0]);
    drop(ready);
    future.get().expect("it is ready").expect("it is the first")
}

/// Writes a body as far as it can be written.
fn write(body: &OutgoingBody, mut content: &[u8]) {
    let stream = body.write().expect("it is the first");
    while !content.is_empty() {
        stream.subscribe().block();
        let Ok(most) = stream.check_write() else {
            return;
        };
        let (now, later) = content.split_at(content.len().min(most as usize));
        if stream.write(now).is_err() {
            return;
        }
        content = later;
    }
    stream.flush().expect("there is nothing to wait for");
}

/// Reads a body to its end.
fn read(body: IncomingBody) -> Vec<u8> {
    let stream = body.stream().expect("it is the first");
    let mut content = Vec::new();
    loop {
        match stream.blocking_read(1000) {
            Ok(bytes) => content.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
    drop(stream);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    let trailers = trailers
        .get()
        .expect("they are there")
        .expect("it is the first");
    assert!(trailers.expect("no failure").is_none());
    content
}

fn shown(response: IncomingResponse) -> Vec<Item> {
    let status = response.status();
    let mut headers: Vec<String> = response
        .headers()
        .entries()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    headers.sort();
    let body = response.consume().expect("it is the first");
    drop(response);
    vec![
        Item::Array(3),
        Item::Integer(status.into()),
        Item::Bulk(headers.join("\n").into_bytes()),
        Item::Bulk(read(body)),
    ]
}
