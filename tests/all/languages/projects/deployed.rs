//! A project is deployed: by the command itself, and by the line that it prints for redis-cli.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use ferrite_tests::{Reply, Server, debian_program};

use super::{output, printed, tools};
use crate::connections::tls::authority::{self, Authority};

/// Loads the project by the line that `deploy --print` prints, if there is a redis-cli for it.
pub(super) fn by_hand(project: &Path) {
    let Some(redis_cli) = debian_program("redis-cli", "FERRITE_REDIS_CLI") else {
        eprintln!("skipped: no redis-cli (on Debian: apt-get install redis-tools)");
        return;
    };
    let password = "it's secret";
    let server = Server::builder()
        .arguments(&["--password", password])
        .start();
    let address = format!("redis://default@{}", server.address());
    let print = ["deploy", "--print", "--server", &address];
    let line = printed("ferrite-wasmc", &print, project);
    assert!(line.ends_with(" REPLACE < build/limits.wasm\n"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    let run = |password: &str| {
        let folder = redis_cli.path.parent().expect("a program is in a folder");
        let inherited = env::var_os("PATH").unwrap_or_default();
        let folders = [folder.to_owned()]
            .into_iter()
            .chain(env::split_paths(&inherited));
        Command::new("sh")
            .args(["-c", &line])
            .current_dir(project)
            .env(
                "PATH",
                env::join_paths(folders).expect("folders have no colons"),
            )
            .env("FERRITE_DEPLOY_PASSWORD", password)
            .output()
            .expect("there is a shell")
    };
    // The server has another function of this name, which may do more.
    let mut client = server.client();
    client.call(&["AUTH", password]);
    let other = "(module (func (export \"run\") (result i32) i32.const 1))";
    let other = client.call(&["WASM.DEFINE", "limits", other, "PERMISSIONS", "read-write"]);
    assert!(other.error().is_none(), "{other:?}");
    let refused = run("another");
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(client.run("WASM.CALL limits"), Reply::Int(1));

    let loaded = run(password);
    let text = String::from_utf8_lossy(&loaded.stdout).into_owned();
    assert!(
        loaded.status.success() && text.starts_with("blake3:"),
        "{loaded:?}"
    );
    let info = client.run("WASM.INFO limits");
    for (field, expected) in [
        ("permissions", r#""allowed_keys":["api:*"]"#),
        ("permissions", r#""allow_write":true"#),
        ("limits", r#""max_time":"50ms""#),
    ] {
        let found = info.at(field).and_then(Reply::text).unwrap_or_default();
        assert!(found.contains(expected), "{found}");
    }
    let call = |key: &str| format!("WASM.CALL limits.rate_limit KEYS {key} ARGS 2 60");
    assert_eq!(client.run(&call("api:1")), Reply::Int(1));
    let refused = client.run(&call("other:1"));
    assert!(
        refused
            .error()
            .is_some_and(|error| error.starts_with("NOPERM")),
        "{refused:?}"
    );
}

/// Replaces a text in the project's settings.
fn change_settings(project: &Path, before: &str, after: &str) {
    let path = project.join("ferrite.project.toml");
    let text = fs::read_to_string(&path).expect("the project has settings");
    assert!(text.contains(before), "{text}");
    fs::write(path, text.replacen(before, after, 1)).expect("it can be written");
}

/// Deploys the project over a function that may do more, then with more rights than that has.
pub(super) fn over_one_that_may_more(project: &Path, server: &Server) {
    let wasmc = "ferrite-wasmc";
    let address = format!("redis://{}", server.address());
    let deploy = ["deploy", "--server", &address];
    let narrower = printed(wasmc, &deploy, project);
    assert!(
        narrower.contains("note    permission: what is granted is narrower")
            && narrower.contains(&format!("loaded limits into {}: blake3:", server.address())),
        "{narrower}"
    );
    let mut client = server.client();
    let refused = client.run("WASM.CALL limits.rate_limit KEYS other:1 ARGS 2 60");
    let error = refused.error().unwrap_or_default();
    assert!(error.starts_with("NOPERM"), "{refused:?}");

    // A build in Python takes half a minute.
    if !project.join("pyproject.toml").exists() {
        change_settings(project, "entry = \"rate_limit\"", "entry = \"rate\"");
        let lost = output(wasmc, &["run", ".", "--key", "api:1"], project);
        let text = String::from_utf8_lossy(&lost.stdout).into_owned();
        assert!(
            text.contains("NOFUNC function \"limits\" has no entry \"rate\""),
            "{text}"
        );
        change_settings(project, "entry = \"rate\"", "entry = \"rate_limit\"");
    }

    change_settings(project, "[\"api:*\"]", "[\"api:*\", \"other:*\"]");
    let again = output(wasmc, &deploy, project);
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert_eq!(again.status.code(), Some(3), "{text}");
    assert!(
        text.contains("wider   permission: allowed_keys has \"other:*\"")
            && text.contains("not loaded: limits may do more"),
        "{text}"
    );
    // Its configuration comes from a file that is no part of the project.
    let secret = tempfile::NamedTempFile::new().expect("a file");
    let path = secret.path().to_str().expect("text");
    fs::write(path, r#"{"token": 1}"#).expect("it can be written");
    let forced = [&deploy[..], &["--yes", "--config-file", path]].concat();
    let wrong = output(wasmc, &forced, project);
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(text.contains("value \"token\" is no text"), "{text}");
    fs::write(path, r#"{"token": "s3cret"}"#).expect("it can be written");
    let forced = printed(wasmc, &forced, project);
    assert!(forced.contains("loaded limits into"), "{forced}");
    assert!(!forced.contains("s3cret"), "{forced}");
    let info = client.run("WASM.INFO limits");
    let names = info.at("config").and_then(Reply::elements);
    assert_eq!(names, Some(&[Reply::Bulk(b"token".to_vec())][..]));
    let reply = client.run("WASM.CALL limits.rate_limit KEYS other:1 ARGS 2 60");
    assert_eq!(reply, Reply::Int(1));

    // A server where it is new, which asks for a password.
    let guarded = Server::builder()
        .arguments(&["--password", "secret"])
        .start();
    let address = format!("redis://{}", guarded.address());
    let deploy = ["deploy", "--server", &address];
    let refused = output(wasmc, &deploy, project);
    assert_eq!(refused.status.code(), Some(1));
    let mut command = Command::new(wasmc);
    command.args(deploy).current_dir(project);
    let signed_in = tools(&mut command)
        .env("FERRITE_DEPLOY_PASSWORD", "secret")
        .output()
        .expect("it can be started");
    let text = String::from_utf8_lossy(&signed_in.stdout).into_owned();
    assert!(
        signed_in.status.success() && text.contains("where it is new"),
        "{text}"
    );
}

/// Deploys the project to a server that only takes clients with a certificate.
pub(super) fn over_tls(project: &Path) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let folder = folder.path();
    let authority = Authority::new();
    authority::write(folder, &authority, &authority.identity("localhost"));
    let client = authority.identity("client");
    let (cert, key) = (folder.join("client.pem"), folder.join("client.key"));
    fs::write(&cert, client.certificate.pem()).expect("it can be written");
    fs::write(&key, client.key.serialize_pem()).expect("it can be written");
    let server = Server::builder()
        .dir(folder)
        .config(
            "[server]\ntls_port = 0\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n\
             tls_client_ca = \"ca.pem\"\n",
        )
        .start();
    let port = server.address_of("tls").port();
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let address = format!("rediss://localhost:{port}");
    let deploy = ["deploy", "--server", &address];
    let (ca, cert, key) = (text(&folder.join("ca.pem")), text(&cert), text(&key));
    let trusted = ["--cacert", &ca];
    let signed_in = ["--cert", &cert, "--key", &key];

    let loaded = printed(
        "ferrite-wasmc",
        &[&deploy[..], &trusted, &signed_in].concat(),
        project,
    );
    assert!(loaded.contains("where it is new"), "{loaded}");
    assert_eq!(
        server
            .client()
            .run("WASM.CALL limits.rate_limit KEYS api:1 ARGS 2 60"),
        Reply::Int(1)
    );
    // The system does not know the authority; the server wants a certificate; the name is another;
    // and files for TLS do nothing without it.
    let elsewhere = format!("rediss://127.0.0.1:{port}");
    let plain = format!("redis://{}", server.address());
    for (server, options, code, says) in [
        (&address, &signed_in[..], 1, "UnknownIssuer"),
        (&address, &trusted[..], 1, "the server does not"),
        (&elsewhere, &trusted[..], 1, "not valid for name"),
        (
            &plain,
            &trusted[..],
            2,
            "begin the server's address with rediss://",
        ),
    ] {
        let refused = output(
            "ferrite-wasmc",
            &[&["deploy", "--server", server], options].concat(),
            project,
        );
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{error}");
        assert!(error.contains(says), "{error}");
    }
}
