//! Figures and records for operators: metrics, the audit line, slow calls.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ferrite_tests::{Reply, Server};

use crate::support::guests::{ADD1, COUNT, ENDLESS, LONG_CALLS};
use crate::support::waiting::{wait_for_call, wait_until};

fn http(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address_of("metrics")).expect("it listens");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("text");
    response
}

#[test]
fn metrics_are_served() {
    let server = Server::builder()
        .arguments(&["--metrics-address", "127.0.0.1:0"])
        .start();
    let mut client = server.client();
    assert!(
        client
            .call(&["WASM.DEFINE", "add1", ADD1])
            .error()
            .is_none()
    );
    for _ in 0..100 {
        assert_eq!(client.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
    }
    assert!(client.run("WASM.CALL add1 ARGS x").error().is_some());
    let response = http(&server, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    for line in [
        "# TYPE ferrite_connections gauge",
        "ferrite_connections 1",
        "ferrite_functions 1",
        "ferrite_function_calls_total{function=\"add1\"} 101",
        "ferrite_function_errors_total{function=\"add1\",code=\"INVALID\"} 1",
        "ferrite_cache_artifacts 1",
        "ferrite_compile_seconds_count 1",
        "ferrite_compile_seconds_bucket{le=\"+Inf\"} 1",
        "ferrite_compile_failures_total 0",
    ] {
        assert!(
            body.lines().any(|found| found == line),
            "{line} is not in\n{body}"
        );
    }
    // Buckets only grow, and the last holds everything.
    let buckets: Vec<u64> = body
        .lines()
        .filter(|line| line.starts_with("ferrite_function_latency_seconds_bucket"))
        .map(|line| {
            line.rsplit(' ')
                .next()
                .expect("a value")
                .parse()
                .expect("a number")
        })
        .collect();
    assert!(buckets.len() > 10 && buckets.is_sorted(), "{buckets:?}");
    assert!(*buckets.last().expect("there are some") > 0);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
        ("\r\n\r\n", "HTTP/1.1 405 "),
    ] {
        assert!(http(&server, request).starts_with(status), "{request:?}");
    }
}

#[test]
fn each_call_gets_a_line_if_it_is_wanted() {
    let server = Server::builder()
        .arguments(&["--wasm-audit", "all", "--log-format", "json"])
        .start();
    let mut client = server.client();
    let read_write = r#"{"allowed_keys":["*"],"allow_write":true}"#;
    let reply = client.call(&["WASM.DEFINE", "count", COUNT, "PERMISSIONS", read_write]);
    let digest = reply.text().expect("a digest").to_owned();
    assert_eq!(client.run("WASM.CALL count KEYS visits"), Reply::Int(1));
    assert!(client.run("WASM.CALL count.nothing").error().is_some());
    assert!(server.stop_and_log(|log| {
        let line = log
            .lines()
            .find(|line| line.contains("ferrite::audit"))
            .expect("a line for the call");
        for part in [
            "\"function\":\"count\"",
            &format!("\"digest\":\"{digest}\""),
            "visits",
            "\"outcome\":\"OK\"",
            "\"fuel\":",
            "\"duration_us\":",
            "\"user\":\"default\"",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(log.contains("\"outcome\":\"NOFUNC\""), "{log}");
    }));
}

#[test]
fn each_line_names_the_command_that_called() {
    let server = Server::builder()
        .arguments(&["--wasm-audit", "all", "--log-format", "json"])
        .start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "add1", ADD1]);
    assert!(reply.error().is_none(), "{reply:?}");
    assert_eq!(client.run("FCALL add1 0 1"), Reply::Int(2));
    assert_eq!(client.run("fcall_ro add1 0 1"), Reply::Int(2));
    assert_eq!(client.run("WASM.CALL_RO add1 ARGS 1"), Reply::Int(2));
    assert!(client.run("WASM.PROFILE add1 ARGS 1").error().is_none());
    let id = client.run("WASM.CALLASYNC add1 KEYS k ARGS 1");
    let id = id.text().expect("an id").to_owned();
    assert_eq!(
        client.run(&format!("WASM.RESULT {id} BLOCK 0")),
        Reply::Int(2)
    );
    assert!(server.stop_and_log(|log| {
        for part in [
            "\"command\":\"FCALL\"",
            "\"command\":\"FCALL_RO\"",
            "\"command\":\"WASM.CALL_RO\"",
            "\"command\":\"WASM.PROFILE\"",
            "\"command\":\"WASM.CALLASYNC\"",
        ] {
            let line = log
                .lines()
                .find(|line| line.contains("ferrite::audit") && line.contains(part));
            let line = line.unwrap_or_else(|| panic!("no line with {part} in {log}"));
            assert!(line.contains("\"outcome\":\"OK\""), "{line}");
            assert!(line.contains("\"user\":\"default\""), "{line}");
        }
    }));
}

#[test]
fn compilations_are_counted() {
    let server = Server::start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "add1", ADD1]);
    let digest = reply.text().expect("a digest").to_owned();
    assert!(
        client
            .call(&["WASM.DEFINE", "bad", "(module"])
            .error()
            .is_some()
    );
    let reply = client.call(&["WASM.LOAD", "again", &digest]);
    assert!(reply.error().is_none(), "{reply:?}");
    let info = client.run("INFO wasm");
    let info = info.text().expect("text");
    for line in ["compilations:2\r\n", "compilations_failed:1\r\n"] {
        assert!(info.contains(line), "{line:?} is not in {info}");
    }
}

#[test]
fn percentiles_are_there_from_the_first_call_on() {
    let server = Server::start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "add1", ADD1]);
    assert!(reply.error().is_none(), "{reply:?}");
    let p99 = |client: &mut ferrite_tests::Client| -> Option<f64> {
        let info = client.run("WASM.INFO add1");
        info.at("p99_us").and_then(Reply::text)?.parse().ok()
    };
    assert_eq!(p99(&mut client), None);
    assert_eq!(client.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
    assert!(p99(&mut client).is_some_and(|micros| micros > 0.0));
}

#[test]
fn a_call_whose_client_went_away_is_counted_as_killed() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    let mut busy = server.client();
    busy.send(b"WASM.CALL endless\r\n");
    wait_for_call(&mut client);
    drop(busy);
    wait_until(&mut client, "errors:1\r\n");
    let info = client.run("WASM.INFO endless");
    let errors = info.at("errors_by_code").expect("they are told");
    assert_eq!(errors.at("KILLED"), Some(&Reply::Int(1)), "{info:?}");
    assert_eq!(info.at("calls"), Some(&Reply::Int(1)), "{info:?}");
}

#[test]
fn calls_get_no_line_unless_they_fail_if_only_errors_are_wanted() {
    let server = Server::builder()
        .arguments(&["--wasm-audit", "errors"])
        .start();
    let mut client = server.client();
    assert!(
        client
            .call(&["WASM.DEFINE", "add1", ADD1])
            .error()
            .is_none()
    );
    assert_eq!(client.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
    assert!(client.run("WASM.CALL add1 ARGS x").error().is_some());
    assert!(server.stop_and_log(|log| {
        assert_eq!(log.matches("ferrite::audit").count(), 1, "{log}");
    }));
}

#[test]
fn slow_calls_are_kept() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    assert!(
        client
            .call(&["WASM.DEFINE", "endless", ENDLESS])
            .error()
            .is_none()
    );
    assert_eq!(client.run("SLOWLOG LEN"), Reply::Int(0));
    // Far longer than the threshold, because the time before the first tick is not counted.
    let reply = client.run("WASM.CALL endless TIMEOUT 500 KEYS k");
    assert!(reply.error().expect("it is ended").starts_with("TIMEOUT "));
    assert_eq!(client.run("SLOWLOG LEN"), Reply::Int(1));
    let slow = client.run("SLOWLOG GET");
    let call = slow.elements().expect("an array")[0]
        .elements()
        .expect("an array");
    assert!(call[2].int().expect("microseconds") >= 10_000, "{call:?}");
    assert!(
        call[3]
            .elements()
            .expect("words")
            .contains(&Reply::Bulk(b"endless".to_vec()))
    );
    assert_eq!(
        call[4].text(),
        Some(client.local_address().to_string().as_str())
    );
    let limits = r#"{"max_time":"500ms"}"#;
    client.call(&["WASM.DEFINE", "brief", ENDLESS, "LIMITS", limits]);
    let reply = client.run("FCALL brief 1 k");
    assert!(reply.error().expect("it is ended").starts_with("TIMEOUT "));
    let slow = client.run("SLOWLOG GET 1");
    let newest = slow.elements().expect("an array")[0].elements();
    let words = newest.expect("an array")[3].elements().expect("words");
    assert_eq!(words[0].text(), Some("FCALL"), "{words:?}");
    assert_eq!(client.run("SLOWLOG RESET"), Reply::Simple("OK".into()));
    assert_eq!(client.run("SLOWLOG GET -1"), Reply::Array(Vec::new()));
    assert!(client.run("SLOWLOG GET -2").error().is_some());
}
