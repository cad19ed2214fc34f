//! Clusters and Sentinels behind TLS, and Sentinels that ask for a password.

use std::path::Path;

use ferrite_tests::{Engine, EngineKind, Reply, Server, command, encode, free_port};

use super::sentinel::{group_of, replicated};
use super::{COUNT, cluster, define, on_each};
use crate::connections::tls::authority::{Authority, write};
use crate::engines::cluster::join;
use crate::engines::until;

/// Files of an authority, and of a server at 127.0.0.1.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new();
        write(dir.path(), &authority, &authority.identity("127.0.0.1"));
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        path(self.dir.path(), name)
    }

    /// Settings of an engine or a Sentinel that listens for TLS at `port`, and uses it with others.
    fn settings(&self, port: u16) -> Vec<[String; 2]> {
        let settings = [
            ("tls-port", port.to_string()),
            ("tls-cert-file", self.path("cert.pem")),
            ("tls-key-file", self.path("key.pem")),
            ("tls-ca-cert-file", self.path("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ];
        settings
            .map(|(name, value)| [name.to_owned(), value])
            .into()
    }

    /// The same as arguments.
    fn arguments(&self, port: u16) -> Vec<String> {
        let settings = self.settings(port).into_iter();
        settings
            .flat_map(|[name, value]| [format!("--{name}"), value])
            .collect()
    }

    fn server(&self, url: &str) -> Server {
        let ca = self.path("ca.pem");
        Server::builder()
            .arguments(&["--upstream", url, "--upstream-ca", &ca])
            .start()
    }
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Kinds that are built with TLS.
fn with_tls(test: impl Fn(EngineKind)) {
    on_each(|kind| {
        let files = Files::new();
        let arguments = files.arguments(free_port());
        let builder = kind.builder().unmodified().arguments(&strs(&arguments));
        if builder.try_start().is_ok() {
            test(kind);
        }
    });
}

#[test]
fn a_cluster_is_reached_through_tls() {
    with_tls(|kind| {
        let files = Files::new();
        let ports: Vec<u16> = (0..cluster::PRIMARIES).map(|_| free_port()).collect();
        let nodes: Vec<Engine> = ports
            .iter()
            .map(|tls| {
                let plain = free_port();
                let bus = (plain + 10_000).to_string();
                let builder = kind.builder().unmodified().port(plain);
                builder
                    .arguments(&strs(&files.arguments(*tls)))
                    .arguments(&["--tls-cluster", "yes", "--cluster-enabled", "yes"])
                    .arguments(&["--cluster-node-timeout", "10000", "--cluster-port", &bus])
                    .start()
            })
            .collect();
        join(&nodes);
        let server = files.server(&format!("rediss+cluster://127.0.0.1:{}", ports[0]));
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        for round in 1..3 {
            for key in 0..20 {
                let reply = client.run(&format!("WASM.CALL count KEYS key:{key}"));
                assert_eq!(reply, Reply::Int(round), "{kind:?}: {key}");
                let reply = client.run(&format!("GET key:{key}"));
                assert_eq!(reply.text(), Some(round.to_string().as_str()));
            }
        }
        // They are on all nodes.
        for node in &nodes {
            let keys = node.client().run("KEYS key:*");
            assert!(
                keys.elements()
                    .is_some_and(|keys| (1..20).contains(&keys.len()))
            );
        }
    });
}

#[test]
fn sentinels_and_their_primary_are_reached_through_tls() {
    with_tls(|kind| {
        let files = Files::new();
        let [first, second, sentinel] = [free_port(), free_port(), free_port()];
        let server = |port| {
            let builder = kind.builder().unmodified();
            builder
                .arguments(&strs(&files.arguments(port)))
                .arguments(&["--repl-diskless-sync-delay", "0"])
        };
        let mut primary = server(first).start();
        let replica = server(second).arguments(&["--replicaof", &format!("127.0.0.1 {first}")]);
        let settings: Vec<String> = files
            .settings(sentinel)
            .iter()
            .map(|setting| setting.join(" "))
            .collect();
        let watching = kind
            .builder()
            .sentinel_of("the-primary", first)
            .configuration(&strs(&settings));
        let (replica, _sentinel) = group_of(replica, watching);
        let server = files.server(&format!(
            "rediss+sentinel://127.0.0.1:{sentinel}/the-primary"
        ));
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        assert_eq!(
            client.run("WASM.CALL count KEYS k"),
            Reply::Int(1),
            "{kind:?}"
        );
        assert_eq!(client.run("GET k").text(), Some("1"));
        replicated(&primary, "last");
        primary.kill();
        let reply = loop {
            let mut client = server.client();
            client.send(&encode(&["WASM.CALL", "count", "KEYS", "k"]));
            match client.next() {
                Some(reply) if reply.error().is_none() => break reply,
                _ => {}
            }
        };
        assert_eq!(reply, Reply::Int(2), "{kind:?}");
        assert_eq!(replica.client().run("GET k").text(), Some("2"));
    });
}

#[test]
fn sentinels_have_credentials_of_their_own() {
    on_each(|kind| {
        let server = || {
            let builder = kind.builder().unmodified();
            builder
                .arguments(&["--repl-diskless-sync-delay", "0"])
                .arguments(&[
                    "--requirepass",
                    "engine-secret",
                    "--masterauth",
                    "engine-secret",
                ])
        };
        let primary = server().start();
        let port = primary.port();
        let replica = server().arguments(&["--replicaof", &format!("127.0.0.1 {port}")]);
        let watching = kind
            .builder()
            .sentinel_of("the-primary", port)
            .configuration(&["sentinel auth-pass the-primary engine-secret"]);
        let replica = replica.start();
        let sentinel = watching.start();
        let mut direct = sentinel.client();
        until(
            &mut direct,
            &["SENTINEL", "REPLICAS", "the-primary"],
            |reply| reply.elements().is_some_and(|replicas| replicas.len() == 1),
        );
        direct.run("ACL SETUSER watcher on >sentinel-secret +@all");
        direct.run("ACL SETUSER default off");
        let url = format!(
            "redis+sentinel://:engine-secret@{}/the-primary",
            sentinel.address()
        );
        let with = |more: &[&str]| {
            Server::builder()
                .arguments(&["--upstream", &url, "--upstream-share-account", "true"])
                .arguments(more)
                .start()
        };
        let server = with(&[
            "--upstream-sentinel-user",
            "watcher",
            "--upstream-sentinel-password",
            "sentinel-secret",
        ]);
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        assert_eq!(
            client.run("WASM.CALL count KEYS k"),
            Reply::Int(1),
            "{kind:?}"
        );
        assert_eq!(client.run("GET k").text(), Some("1"));
        // The command line has them from its environment.
        assert_eq!(from_command_line(&sentinel, Some("sentinel-secret")), Ok(2));
        assert!(from_command_line(&sentinel, None).is_err_and(|text| text.contains("NOAUTH")));
        for (more, reason) in [
            (&[][..], "NOAUTH"),
            (
                &[
                    "--upstream-sentinel-user",
                    "watcher",
                    "--upstream-sentinel-password",
                    "engine-secret",
                ],
                "WRONGPASS",
            ),
        ] {
            let server = with(more);
            for line in ["GET k", "WASM.CALL count KEYS k"] {
                let reply = server.client().run(line);
                let error = reply.error().unwrap_or_default();
                assert!(
                    error.starts_with("STORE")
                        && error.contains(reason)
                        && error.contains("upstream.sentinel_password")
                        && !error.contains("secret"),
                    "{kind:?}: {line}: {reply:?}"
                );
            }
        }
        drop(replica);
    });
}

/// Counts at `k` by the command line.
fn from_command_line(sentinel: &Engine, password: Option<&str>) -> Result<i64, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let module = folder.path().join("count.wat");
    std::fs::write(&module, COUNT).expect("written");
    let url = format!("redis+sentinel://{}/the-primary", sentinel.address());
    let mut run = command("ferrite-wasmc", "FERRITE_WASMC_BIN");
    run.arg("run")
        .arg(&module)
        .args([
            "--key",
            "k",
            "--upstream",
            &url,
            "--permissions",
            "read-write",
        ])
        .env("FERRITE_CACHE_DIR", folder.path().join("cache"))
        .env("FERRITE_UPSTREAM_PASSWORD", "engine-secret");
    if let Some(password) = password {
        run.env("FERRITE_UPSTREAM_SENTINEL_USER", "watcher")
            .env("FERRITE_UPSTREAM_SENTINEL_PASSWORD", password);
    }
    let output = run.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.trim().strip_prefix("(integer) ");
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn credentials_of_sentinels_need_sentinels() {
    for (arguments, reason) in [
        (
            &[
                "--upstream",
                "redis://h",
                "--upstream-sentinel-password",
                "x",
            ][..],
            "upstream.url names none",
        ),
        (
            &[
                "--upstream",
                "redis+sentinel://h/name",
                "--upstream-sentinel-user",
                "x",
            ],
            "needs upstream.sentinel_password",
        ),
    ] {
        let log = Server::builder()
            .arguments(arguments)
            .try_start()
            .expect_err("it is wrong");
        assert!(log.contains(reason), "{arguments:?}: {log}");
    }
}
