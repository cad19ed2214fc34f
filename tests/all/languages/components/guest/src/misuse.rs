//! Uses of `wasi:http` that go wrong.

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, HeaderError, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, http_error_code,
};
use wasip2::io::poll;
use wasip2::io::streams::StreamError;

use crate::{Input, Reply};

/// `ARGS what authority`: replies what was seen, as an array of texts.
pub(crate) fn run(input: &Input) -> Reply {
    let text = |index: usize| std::str::from_utf8(&input.args[index]).expect("text");
    let seen = match text(0) {
        "fields" => fields(),
        "unread" => unread(text(1)),
        "unfinished" => unfinished(text(1)),
        "dropped" => dropped(text(1)),
        "length" => length(text(1)),
        "trailers" => trailers(text(1)),
        "twice" => twice(text(1)),
        "options" => options(),
        "time" => time(),
        "many" => many(text(1)),
        "copied" => copied(text(1)),
        "bodiless" => bodiless(text(1)),
        "open-stream" => open_stream(text(1)),
        "response" => {
            // A resource of another interface that no host offers here.
            wasip2::http::types::OutgoingResponse::new(Fields::new());
            vec![]
        }
        other => vec![format!("unknown: {other}")],
    };
    Ok(crate::texts(seen))
}

fn fields() -> Vec<String> {
    let shown = |result: Result<(), HeaderError>| format!("{result:?}");
    let fields = Fields::new();
    let mut seen = vec![
        shown(fields.append("bad name", b"x")),
        shown(fields.append("", b"x")),
        shown(fields.append("x", b"a\r\nb: c")),
        shown(fields.append(":timeout", b"1")),
        shown(fields.append("Host", b"example.com")),
        shown(fields.set("transfer-encoding", &[b"chunked".to_vec()])),
        shown(fields.append("Two", b"1")),
        shown(fields.append("tWO", b"\xff")),
        format!("{:?}", fields.get("TWO")),
        shown(fields.set("two", &[b"3".to_vec(), b"\0".to_vec()])),
        format!("{:?}", fields.get("two").len()),
        shown(fields.delete("two")),
        format!("{}", fields.has("two")),
        format!(
            "{:?}",
            Fields::from_list(&[("a".to_owned(), b"\n".to_vec())]).err()
        ),
    ];
    fields.append("kept", b"").expect("a good header");
    let request = OutgoingRequest::new(fields.clone());
    let of_request = request.headers();
    seen.push(shown(of_request.append("later", b"1")));
    seen.push(format!("{:?}", of_request.entries()));
    let copy = of_request.clone();
    seen.push(shown(copy.append("later", b"1")));
    seen
}

fn simple(authority: &str, headers: Fields) -> OutgoingRequest {
    let request = OutgoingRequest::new(headers);
    request
        .set_scheme(Some(&wasip2::http::types::Scheme::Http))
        .expect("a scheme");
    request
        .set_authority(Some(authority))
        .expect("an authority");
    request
}

fn hand_over(request: OutgoingRequest) -> FutureIncomingResponse {
    outgoing_handler::handle(request, None).expect("it can be sent")
}

fn outcome(future: &FutureIncomingResponse) -> String {
    match future.get() {
        None => "not yet".to_owned(),
        Some(Err(())) => "taken".to_owned(),
        Some(Ok(Ok(response))) => response.status().to_string(),
        Some(Ok(Err(code))) => format!("{code:?}"),
    }
}

/// Responses whose bodies nobody reads do not disturb later ones.
fn unread(authority: &str) -> Vec<String> {
    (0..3)
        .map(|number| {
            let request = simple(authority, Fields::new());
            request
                .set_path_with_query(Some(&format!("/?{number}")))
                .expect("a path");
            let future = hand_over(request);
            let response = future.get().expect("ready").expect("once").expect("sent");
            if number == 0 {
                drop(response);
                return String::new();
            }
            let body = response.consume().expect("once");
            if number == 1 {
                let stream = body.stream().expect("once");
                return format!("{:?}", stream.read(2).expect("open"));
            }
            String::from_utf8(crate::read(body)).expect("text")
        })
        .collect()
}

/// Nothing is sent while the body is not finished, and whoever waits then gets an error.
fn unfinished(authority: &str) -> Vec<String> {
    let request = simple(authority, Fields::new());
    let body = request.body().expect("once");
    let future = hand_over(request);
    let ready = future.subscribe();
    let mut seen = vec![outcome(&future), ready.ready().to_string()];
    ready.block();
    seen.push(outcome(&future));
    // Now it is too late.
    seen.push(format!("{:?}", OutgoingBody::finish(body, None)));
    seen.push(outcome(&future));
    seen
}

fn dropped(authority: &str) -> Vec<String> {
    let request = simple(authority, Fields::new());
    let body = request.body().expect("once");
    let future = hand_over(request);
    drop(body);
    let mut seen = vec![outcome(&future)];
    // Before it is handed over, and the request itself.
    let request = simple(authority, Fields::new());
    drop(request.body());
    seen.push(format!(
        "{:?}",
        outgoing_handler::handle(request, None).err()
    ));
    let request = simple(authority, Fields::new());
    let body = request.body().expect("once");
    drop(request);
    crate::write(&body, b"nobody reads it");
    seen.push(format!("{:?}", OutgoingBody::finish(body, None)));
    // And the future.
    let request = simple(authority, Fields::new());
    let body = request.body().expect("once");
    drop(hand_over(request));
    crate::write(&body, b"nobody reads it");
    seen.push(format!("{:?}", OutgoingBody::finish(body, None)));
    seen
}

fn length(authority: &str) -> Vec<String> {
    let declared = || Fields::from_list(&[("Content-Length".to_owned(), b"3".to_vec())]);
    let request = simple(authority, declared().expect("a good header"));
    let body = request.body().expect("once");
    let future = hand_over(request);
    let stream = body.write().expect("once");
    let mut seen = vec![];
    match stream.write(b"12345") {
        Err(StreamError::LastOperationFailed(error)) => {
            seen.push(error.to_debug_string());
            seen.push(format!("{:?}", http_error_code(&error)));
        }
        other => seen.push(format!("{other:?}")),
    }
    seen.push(format!("{:?}", stream.check_write()));
    drop(stream);
    seen.push(format!("{:?}", OutgoingBody::finish(body, None)));
    seen.push(outcome(&future));
    // Too little, and then as much as was said.
    for content in [&b"12"[..], b"123"] {
        let request = simple(authority, declared().expect("a good header"));
        let body = request.body().expect("once");
        crate::write(&body, content);
        seen.push(format!("{:?}", OutgoingBody::finish(body, None)));
        match outgoing_handler::handle(request, None) {
            Ok(future) => seen.push(outcome(&future)),
            Err(code) => seen.push(format!("{code:?}")),
        }
    }
    seen
}

fn trailers(authority: &str) -> Vec<String> {
    let trailers = Fields::new();
    trailers.append("sum", b"1").expect("a good header");
    [Some(trailers), Some(Fields::new())]
        .into_iter()
        .flat_map(|trailers| {
            let request = simple(authority, Fields::new());
            let body = request.body().expect("once");
            let future = hand_over(request);
            let finished = OutgoingBody::finish(body, trailers);
            [format!("{finished:?}"), outcome(&future)]
        })
        .collect()
}

fn twice(authority: &str) -> Vec<String> {
    let request = simple(authority, Fields::new());
    let body = request.body().expect("once");
    let mut seen = vec![request.body().is_err().to_string()];
    let stream = body.write().expect("once");
    seen.push(body.write().is_err().to_string());
    drop(stream);
    OutgoingBody::finish(body, None).expect("an empty body");
    let future = hand_over(request);
    let response = future.get().expect("ready").expect("once").expect("sent");
    seen.push(outcome(&future));
    let body = response.consume().expect("once");
    seen.push(response.consume().is_err().to_string());
    let stream = body.stream().expect("once");
    seen.push(body.stream().is_err().to_string());
    drop(stream);
    seen
}

fn options() -> Vec<String> {
    let options = RequestOptions::new();
    vec![
        format!("{:?}", options.first_byte_timeout()),
        format!("{:?}", options.set_first_byte_timeout(Some(5))),
        format!("{:?}", options.first_byte_timeout()),
        format!("{:?}", options.set_connect_timeout(Some(5))),
        format!("{:?}", options.set_between_bytes_timeout(Some(5))),
        format!("{:?}", options.set_connect_timeout(None)),
        format!("{:?}", options.connect_timeout()),
    ]
}

/// A call does not sleep.
fn time() -> Vec<String> {
    let far = monotonic_clock::subscribe_duration(u64::MAX);
    let hour = monotonic_clock::subscribe_duration(3_600_000_000_000);
    let past = monotonic_clock::subscribe_instant(1);
    let mut seen = vec![
        format!("{} {}", far.ready(), past.ready()),
        format!("{:?}", poll::poll(&[&far, &past, &hour])),
        format!("{:?}", poll::poll(&[&far, &hour])),
    ];
    far.block();
    // A response that is there comes before a time that is not.
    seen.push("slept".to_owned());
    seen
}

/// Makes requests until one fails.
fn many(authority: &str) -> Vec<String> {
    let outcomes = (0..20).map(|number| {
        let request = simple(authority, Fields::new());
        request
            .set_path_with_query(Some(&format!("/{number}")))
            .expect("a path");
        outcome(&hand_over(request))
    });
    let mut seen: Vec<String> = outcomes.collect();
    seen.dedup();
    seen
}

/// Fields of a response, given to a request as they are.
fn copied(authority: &str) -> Vec<String> {
    let request = simple(authority, Fields::new());
    request.set_path_with_query(Some("/kept")).expect("a path");
    let future = hand_over(request);
    let response = future.get().expect("ready").expect("once").expect("sent");
    let headers = response.headers().clone();
    let try_again = || {
        let request = simple(authority, headers.clone());
        match outgoing_handler::handle(request, None) {
            Ok(future) => outcome(&future),
            Err(code) => format!("{code:?}"),
        }
    };
    let mut seen = vec![try_again()];
    for name in ["content-length", "connection"] {
        seen.push(format!("{:?}", headers.delete(name)));
        seen.push(try_again());
    }
    for number in 0..65 {
        headers
            .append(&format!("x-{number}"), b"")
            .expect("a good header");
    }
    seen.push(try_again());
    seen
}

/// Requests without a body, and the lengths that they say.
fn bodiless(authority: &str) -> Vec<String> {
    let cases = [
        (Method::Post, Some("0")),
        (Method::Post, None),
        (Method::Get, Some("0")),
        (Method::Post, Some("5")),
        (Method::Get, Some("x")),
    ];
    cases
        .into_iter()
        .map(|(method, length)| {
            let headers = Fields::new();
            if let Some(length) = length {
                headers
                    .append("content-length", length.as_bytes())
                    .expect("a good header");
            }
            let request = simple(authority, headers);
            request.set_method(&method).expect("a method");
            request.set_path_with_query(Some("/echo")).expect("a path");
            let future = match outgoing_handler::handle(request, None) {
                Ok(future) => future,
                Err(code) => return format!("{code:?}"),
            };
            let response = future.get().expect("ready").expect("once").expect("sent");
            let echo = crate::read(response.consume().expect("once"));
            let echo = String::from_utf8(echo).expect("text");
            let length = echo
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("content-length"));
            length.unwrap_or("none").to_ascii_lowercase()
        })
        .collect()
}

/// A stream has to be dropped before its body.
fn open_stream(authority: &str) -> Vec<String> {
    let request = simple(authority, Fields::new());
    let body = request.body().expect("once");
    let stream = body.write().expect("once");
    let finished = OutgoingBody::finish(body, None);
    drop(stream);
    vec![format!("{finished:?}")]
}
