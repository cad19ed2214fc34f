//! The configuration from all its sources, its errors, and its documentation.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use super::{Action, Config, ConfigError, Invocation, Port, keys, markdown};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("ferrite.toml"), text)
}

fn invoke(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
    Invocation::read(
        arguments.iter().map(OsString::from),
        variables
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    )
}

fn number(port: Port) -> u16 {
    match port {
        Port::Number(number) => number,
        Port::Off => panic!("a number was expected"),
    }
}

#[test]
fn every_default_is_of_its_keys_kind() {
    let _ = Config::default();
}

#[test]
fn keys_flags_and_variables_are_distinct() {
    let mut names: Vec<String> = keys()
        .flat_map(|key| [key.path(), key.flag(), key.variable()])
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn what_is_printed_means_the_same() {
    let config =
        parse("[server]\nport = 1\nlog = \"a\\\"b\"\n[wasm]\nenabled = false").expect("right");
    assert_eq!(parse(&config.to_toml()).expect("printed by us"), config);
    assert_eq!(
        parse(&Config::default().to_toml()).expect("printed by us"),
        Config::default()
    );
}

#[test]
fn secrets_are_not_printed() {
    let config = parse("[server]\npassword = \"hunter2\"").expect("right");
    assert!(!config.to_toml().contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    writeln!(file, "[server]\nport = 1\nthreads = 1\nmax_arguments = 1").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let invocation = invoke(
        &["--port", "3", "--config", path],
        &[
            ("FERRITE_SERVER_PORT", "2"),
            ("FERRITE_SERVER_THREADS", "2"),
        ],
    )
    .expect("right");
    let server = invocation.config.server;
    assert_eq!(
        (number(server.port), server.threads, server.max_arguments),
        (3, 2, 1)
    );

    let by_variable = invoke(&[], &[("FERRITE_CONFIG", path)]).expect("right");
    assert_eq!(number(by_variable.config.server.port), 1);
}

#[test]
fn actions_are_told_apart() {
    for (flag, action) in [
        ("--check-config", Action::CheckConfig),
        ("--print-config", Action::PrintConfig),
        ("--help", Action::Help),
        ("--version", Action::Version),
    ] {
        assert_eq!(invoke(&[flag], &[]).expect(flag).action, action);
    }
    assert_eq!(
        invoke(&["--port=0"], &[]).expect("right").action,
        Action::Serve
    );
}

#[test]
fn foreign_variables_are_left_alone_and_slips_are_told() {
    let invocation = invoke(
        &[],
        &[
            ("FERRITE_SERVER_PROT", "1"),
            ("HOME", "/"),
            ("FERRITE_CACHE_DIR", "x"),
            ("FERRITE_KEY_PASSWORD", "x"),
            ("FERRITE_WASM_RUSTC", "x"),
        ],
    )
    .expect("only a warning");
    assert_eq!(
        invocation.warnings,
        [
            "environment variable FERRITE_SERVER_PROT: there is no variable \
          \"FERRITE_SERVER_PROT\"; did you mean \"FERRITE_SERVER_PORT\"?"
        ]
    );
}

/// Contents of files, with their errors.
const FILE_ERRORS: &[(&str, &str)] = &[
    (
        "[server]\nprot = 1",
        "ferrite.toml:2: there is no key \"server.prot\"; did you mean \"server.port\"?",
    ),
    (
        "[server]\nmodule_dir = \"x\"",
        "ferrite.toml:2: there is no key \"server.module_dir\"; did you mean \"wasm.module_dir\"?",
    ),
    (
        "port = 1",
        "ferrite.toml:1: there is no key \"port\"; did you mean \"server.port\"?",
    ),
    (
        "[servers]\nport = 1",
        "ferrite.toml:1: there is no section \"servers\"; did you mean \"server\"?",
    ),
    ("[quux]", "ferrite.toml:1: there is no section \"quux\""),
    (
        "server = 1",
        "ferrite.toml:1: \"server\" is a section, not a key with a value",
    ),
    (
        "[server.port]\nx = 1",
        "ferrite.toml:1: \"server.port\" is a key with a value, not a section",
    ),
    (
        "\n[server]\n\nport = 70000",
        "ferrite.toml:4: server.port must be a port from 0 (any free one) to 65535, or \"off\", not 70000",
    ),
    (
        "[server]\nbind = \"localhost\"",
        "ferrite.toml:2: server.bind must be an IP address such as \"127.0.0.1\" or \"::1\", not \"localhost\"",
    ),
    (
        "[wasm]\nenabled = 1",
        "ferrite.toml:2: wasm.enabled must be true or false, not 1",
    ),
    (
        "[server]\nmax_request = -1",
        "ferrite.toml:2: server.max_request must be a size such as \"16MB\" or \"512KB\", not -1",
    ),
    (
        "[server]\nport = 1979-05-27",
        "ferrite.toml:2: server.port must be a port from 0 (any free one) to 65535, or \"off\", not datetime",
    ),
    (
        "[server]\nport = \"off\"",
        "server.port and server.tls_port are both off; nobody could connect",
    ),
    (
        "[server]\ntls_cert = \"x\"",
        "server.tls_cert and server.tls_key belong together; one is missing",
    ),
];

#[test]
fn each_error_names_the_place_and_what_to_do() {
    for (text, message) in FILE_ERRORS {
        let error = parse(text).expect_err(text).to_string();
        assert_eq!(&error, message, "{text}");
    }
    let error = parse("[server]\nport = ")
        .expect_err("not TOML")
        .to_string();
    assert!(error.starts_with("ferrite.toml:2: not TOML: "), "{error}");
}

#[test]
fn each_wrong_flag_is_told() {
    for (arguments, message) in [
        (
            &["--prot", "1"][..],
            "flag --prot: there is no flag \"--prot\"; did you mean \"--port\"?",
        ),
        (
            &["--port"],
            "flag --port needs a value: a port from 0 (any free one) to 65535, or \"off\"",
        ),
        (
            &["--config"],
            "flag --config needs a value: the path of a file",
        ),
        (
            &["serve"],
            "unexpected argument \"serve\"; flags start with --, see --help",
        ),
        (
            &["--port", "x"],
            "flag --port: server.port must be a port from 0 (any free one) to 65535, or \"off\", not \"x\"",
        ),
        (
            &["--config", "/nonexistent/ferrite.toml"],
            "cannot read the configuration file /nonexistent/ferrite.toml",
        ),
    ] {
        let error = invoke(arguments, &[]).expect_err("wrong").to_string();
        assert_eq!(error, message);
    }
}

/// Set `FERRITE_BLESS` to write the page anew.
#[test]
fn the_documentation_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("FERRITE_BLESS").is_some() {
        std::fs::write(&path, markdown()).expect("docs can be written");
    }
    let page = std::fs::read_to_string(&path).expect("docs/configuration.md is there");
    assert_eq!(
        page,
        markdown(),
        "run this test with FERRITE_BLESS=1 to write the page anew"
    );
}

/// Damaged configuration files: each is refused, or is one that reads back as the same.
#[test]
fn no_file_breaks_the_reader() {
    let mut good = Config::default().to_toml();
    good.push_str("\n# the end\n");
    let users = "[server]\nusers = [\"app may=read+write password=a functions=x*+y\", \"ops may=all password_blake3=00\"]\nmetrics_address = \"127.0.0.1:9\"\n[wasm]\naudit = \"1/100\"\n[wasm.limits]\nmax_time = \"5ms\"\n";
    let inputs = std::env::var("FERRITE_FUZZ_INPUTS").map_or(3_000, |text| {
        text.parse().expect("FERRITE_FUZZ_INPUTS is a number")
    });
    let mut random = fastrand::Rng::with_seed(5);
    let mut accepted = 0;
    for _ in 0..inputs {
        let source = if random.bool() { users } else { &good };
        let mut bytes = source.as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(32..127),
                1 => drop(bytes.drain(at..(at + random.usize(1..9)).min(bytes.len()))),
                2 => bytes.insert(at, *random.choice(b"\"=[]{}+,\n\\0#-9/.").unwrap_or(&b'x')),
                _ => {
                    let part = bytes[at..(at + random.usize(1..30)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        match parse(&text) {
            Ok(config) => {
                accepted += 1;
                let written = config.to_toml();
                let again = parse(&written).map(|config| config.to_toml());
                assert_eq!(again.ok(), Some(written), "{text}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(accepted > 0);
}
