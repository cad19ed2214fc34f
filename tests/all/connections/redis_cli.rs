//! `redis-cli` with the options that operators use, and an exporter for Prometheus.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use ferrite_tests::{Reply, Server, debian_program};

use crate::support::running::Running;

fn redis_cli(server: &Server) -> Option<Command> {
    let Some(program) = debian_program("redis-cli", "FERRITE_REDIS_CLI") else {
        eprintln!("skipped: there is no redis-cli here");
        return None;
    };
    let mut command = Command::new(program.path);
    command.args(["-p", &server.address().port().to_string()]);
    Some(command)
}

/// Runs `redis-cli` with an input, and returns what it printed.
fn run(server: &Server, arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut child = redis_cli(server)?
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It may end without reading all of it.
    let _ = child.stdin.take().expect("piped").write_all(input);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{arguments:?}: {text}{errors}");
    Some(text)
}

#[test]
fn big_keys_and_memory_are_found() {
    let server = Server::start();
    let mut client = server.client();
    client.run("SET text value");
    client.run("RPUSH list 1 2 3");
    client.run("HSET hash a 1 b 2");
    client.run("ZADD zset 1 a");
    for (option, part) in [
        ("--bigkeys", "Biggest   list found \"list\" has 3 items"),
        ("--memkeys", "Biggest   hash found"),
    ] {
        let Some(text) = run(&server, &[option], b"") else {
            return;
        };
        let plain = text.replace('\'', "\"").replace("\"\"", "\"");
        assert!(plain.contains("Sampled 4 keys in the keyspace!"), "{text}");
        assert!(plain.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn input_is_piped_and_put_into_arguments() {
    let server = Server::start();
    let requests: Vec<u8> = (0..1000)
        .flat_map(|number| ferrite_tests::encode(&["SET", &format!("k{number}"), "v"]))
        .collect();
    let Some(text) = run(&server, &["--pipe"], &requests) else {
        return;
    };
    assert!(text.contains("errors: 0, replies: 1000"), "{text}");
    run(&server, &["-x", "SET", "last"], b"from\0input");
    run(&server, &["-X", "TAG", "SET", "TAG", "v"], b"the key");
    let mut client = server.client();
    assert_eq!(client.run("GET last"), Reply::Bulk(b"from\0input".to_vec()));
    assert_eq!(client.call(&["GET", "the key"]), Reply::Bulk(b"v".to_vec()));
    assert_eq!(client.run("DBSIZE"), Reply::Int(1002));
}

#[test]
fn statistics_and_latency_are_shown() {
    let server = Server::start();
    server.client().run("SET k v");
    let Some(mut command) = redis_cli(&server) else {
        return;
    };
    let child = command
        // Into a pipe, it writes some forty lines at once.
        .args(["--stat", "-i", "0.02"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut child = Running(child);
    let lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    let line = lines
        .map(|line| line.expect("text"))
        .find(|line| line.starts_with(|letter: char| letter.is_ascii_digit()))
        .expect("a line of figures");
    drop(child);
    let figures: Vec<&str> = line.split_ascii_whitespace().collect();
    // Keys, memory, clients, and those of them that are blocked.
    assert_eq!((figures[0], figures[3]), ("1", "0"), "{line}");
    assert!(figures[1].ends_with('M') && figures[2] != "0", "{line}");

    let mut command = redis_cli(&server).expect("as before");
    let child = command
        .args(["--latency", "--raw", "-i", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut child = Running(child);
    let mut text = [0; 8];
    let stdout = child.0.stdout.as_mut().expect("piped");
    stdout.read_exact(&mut text).expect("figures");
    assert!(text.iter().any(u8::is_ascii_digit), "{text:?}");
}

#[test]
fn an_exporter_finds_its_figures() {
    let Some(program) = debian_program("prometheus-redis-exporter", "FERRITE_REDIS_EXPORTER")
    else {
        eprintln!("skipped: there is no prometheus-redis-exporter here");
        return;
    };
    let server = Server::start();
    let mut client = server.client();
    for request in ["SET k v EX 1000", "GET k", "GET nothing", "NOSUCH"] {
        client.run(request);
    }
    // The system gives a free port, which nobody else takes so soon.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let (_running, _) = Running::start(
        Command::new(program.path)
            .arg(format!("--redis.addr=redis://{}", server.address()))
            .arg(format!("--web.listen-address={address}")),
        "Providing metrics",
    );
    let mut page = String::new();
    for _ in 0..200_000 {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let request = "GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("sent");
            stream.read_to_string(&mut page).expect("a page");
            break;
        }
        std::thread::yield_now();
    }
    for line in [
        "redis_up 1",
        "redis_exporter_last_scrape_error{err=\"\"} 0",
        "redis_blocked_clients 0",
        "redis_cluster_enabled 0",
        "redis_db_keys{db=\"db0\"} 1",
        "redis_db_keys_expiring{db=\"db0\"} 1",
        "redis_keyspace_hits_total 1",
        "redis_keyspace_misses_total 1",
        "redis_evicted_keys_total 0",
        "redis_rdb_changes_since_last_save 1",
        "redis_errors_total{err=\"ERR\"} 1",
        "redis_commands_total{cmd=\"get\"} 2",
        "redis_memory_max_bytes 0",
        "redis_loading_dump_file 0",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is not in\n{page}"
        );
    }
}
