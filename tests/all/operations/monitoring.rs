//! The alert rules and the dashboard in `packaging`, by Prometheus against a running server.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrite_tests::{Server, debian_program};
use serde_json::Value;

use crate::support::guests::{ADD1, SLEEP};
use crate::support::running::Running;
use crate::support::waiting::wait_for_call;

/// A module with two entries, so that there are figures of entries.
const TWO_ENTRIES: &str = r#"(module
  (func (export "one") (result i32) (i32.const 1))
  (func (export "two") (result i32) unreachable))"#;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .join("packaging")
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return unchunked(body);
    }
    Some(body.to_owned())
}

/// Joins the chunks of a body.
fn unchunked(mut body: &str) -> Option<String> {
    let mut text = String::new();
    loop {
        let (len, rest) = body.split_once("\r\n")?;
        let len = usize::from_str_radix(len.trim(), 16).ok()?;
        if len == 0 {
            return Some(text);
        }
        text.push_str(rest.get(..len)?);
        body = rest.get(len + 2..)?;
    }
}

/// Starts a server that has something to tell under every name of a metric.
fn busy_server() -> Server {
    let server = Server::builder()
        .arguments(&["--metrics-address", "127.0.0.1:0"])
        .start();
    let mut client = server.client();
    client.call(&["WASM.DEFINE", "add1", ADD1]);
    client.call(&["WASM.DEFINE", "two", TWO_ENTRIES]);
    client.run("WASM.CALL add1 ARGS 1");
    client.run("WASM.CALL two.one");
    assert!(client.run("WASM.CALL two.two").error().is_some());
    client.run("SET k v EX 1000");
    client.run("GET k");
    client.run("GET nothing");
    client.run("WASM.TRIGGER ADD t add1 KEYS k EVENTS set");
    client.run("WASM.SCHEDULE ADD s add1 EVERY 1h");
    // Calls are counted by user where there are several.
    client.run("ACL SETUSER other on nopass ~* +@all");
    client.call(&["WASM.DEFINE", "sleep", SLEEP]);
    client.run("WASM.CALLASYNC sleep");
    wait_for_call(&mut client);
    server
}

/// Every expression of the dashboard, with its variables set.
fn dashboard_expressions() -> Vec<String> {
    let text = std::fs::read_to_string(packaging().join("grafana/ferrite.json")).expect("read");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| {
            let text = target["expr"].as_str().expect("an expression");
            text.replace("$instance", ".*")
                .replace("$function", ".*")
                .replace("$__rate_interval", "1m")
        })
        .collect()
}

/// The names of metrics in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("ferrite_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_that_is_named_is_served() {
    let server = busy_server();
    let page = get(server.address_of("metrics"), "/metrics").expect("metrics");
    let served: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let rules = std::fs::read_to_string(packaging().join("prometheus/alerts.yml")).expect("read");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let docs = std::fs::read_to_string(docs).expect("read");
    let named = [rules, dashboard_expressions().join("\n"), docs].map(|text| metric_names(&text));
    let histogram = |name: &str| served.contains(format!("{name}_bucket").as_str());
    let missing: Vec<&String> = named
        .iter()
        .flatten()
        .filter(|name| !served.contains(name.as_str()) && !histogram(name))
        .collect();
    assert!(missing.is_empty(), "not served: {missing:?}\n{page}");
    assert!(named[0].len() > 10 && named[1].len() > 30, "{named:?}");
}

/// A Prometheus that scrapes one server; ends with its value.
struct Prometheus {
    _running: Running,
    address: SocketAddr,
}

fn prometheus(folder: &Path, target: SocketAddr) -> Option<Prometheus> {
    let Some(program) = debian_program("prometheus", "FERRITE_PROMETHEUS") else {
        eprintln!("skipped: there is no prometheus here");
        return None;
    };
    let rules = packaging().join("prometheus/alerts.yml");
    std::fs::copy(rules, folder.join("alerts.yml")).expect("copied");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [alerts.yml]\n\
         scrape_configs:\n  - job_name: ferrite\n    static_configs: [{{targets: [\"{target}\"]}}]\n"
    );
    std::fs::write(folder.join("prometheus.yml"), config).expect("written");
    // The system gives a free port, which nobody else takes so soon.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let (running, _) = Running::start(
        Command::new(&program.path)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder),
        "ready to receive web requests",
    );
    Some(Prometheus {
        _running: running,
        address,
    })
}

/// Asks until `met` returns true; each time is a whole round trip.
fn until(what: &str, mut met: impl FnMut() -> bool) {
    for _ in 0..200_000 {
        if met() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it never happens that {what}");
}

/// Writes a text so that it can stand in a URL.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[test]
fn prometheus_evaluates_the_rules_and_every_expression_of_the_dashboard() {
    let server = busy_server();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(prometheus) = prometheus(folder.path(), server.address_of("metrics")) else {
        return;
    };
    let ask = |path: &str| -> Option<Value> {
        serde_json::from_str(&get(prometheus.address, path)?).ok()
    };
    let up = |value: Value| value["data"]["result"][0]["value"][1].as_str() == Some("1");
    until("the server is scraped", || {
        ask(&format!(
            "/api/v1/query?query={}",
            encoded("up{job=\"ferrite\"}")
        ))
        .is_some_and(up)
    });
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 40, "{}", expressions.len());
    for expression in &expressions {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = ask(&path).expect("an answer");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        // Rates need two samples, and some figures are rare; all others have a value at once.
        let is_plain = !expression.contains("rate(") && !expression.contains('>');
        let values = answer["data"]["result"].as_array().map_or(0, Vec::len);
        assert!(
            !is_plain || values > 0,
            "{expression} finds nothing: {answer}"
        );
    }
    let mut rules = Value::Null;
    until("the rules are evaluated", || {
        rules = ask("/api/v1/rules").unwrap_or_default();
        let groups = rules["data"]["groups"][0]["rules"].as_array();
        groups.is_some_and(|rules| rules.iter().all(|rule| rule["health"] == "ok"))
    });
    let rules = rules["data"]["groups"][0]["rules"]
        .as_array()
        .expect("rules");
    assert!(rules.len() > 10, "{rules:?}");
    let state = |name: &str| {
        let rule = rules.iter().find(|rule| rule["name"] == name);
        rule.map(|rule| rule["state"].as_str().expect("a state").to_owned())
    };
    assert_eq!(state("FerriteDown").as_deref(), Some("inactive"));
    assert_eq!(state("FerriteDiskFailing").as_deref(), Some("inactive"));
}
