//! The command line by which redis-cli loads a function, for people who want to see it or run it elsewhere.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::address::{Address, PASSWORD_VARIABLE};
use crate::terminal::console::Report;
use crate::tls::TlsOptions;

/// A command line for a POSIX shell, which needs redis-cli 7.0 or later.
#[derive(Serialize)]
pub(super) struct LoadLine {
    command: String,
}

impl LoadLine {
    /// Writes the line that loads the file `module` as the function `name`, with these options of `WASM.LOAD`,
    /// whatever ran there before.
    pub(super) fn new(
        address: &Address,
        tls: &TlsOptions,
        name: &str,
        module: &Path,
        options: Vec<String>,
    ) -> Self {
        let mut words = vec!["redis-cli".to_owned()];
        words.extend(server_options(address, tls));
        // redis-cli puts standard input in the place of the first word that equals this one.
        let stand_in = if name == "module" { "file" } else { "module" };
        // With -e, an error of the server is an exit code, too.
        words.extend(["-e", "-X", stand_in, "WASM.LOAD", name, stand_in].map(str::to_owned));
        words.extend(options);
        words.push("REPLACE".to_owned());
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        // redis-cli would ask for the password on standard input, which is the module.
        let password = if address.user.is_some() || std::env::var_os(PASSWORD_VARIABLE).is_some() {
            format!("REDISCLI_AUTH=\"${PASSWORD_VARIABLE}\" ")
        } else {
            String::new()
        };
        Self {
            command: format!(
                "{password}{} < {}",
                words.join(" "),
                quoted(&module.display().to_string())
            ),
        }
    }
}

impl Report for LoadLine {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.command)
    }
}

/// The options by which redis-cli reaches a server.
fn server_options(address: &Address, tls: &TlsOptions) -> Vec<String> {
    let Address {
        tls: by_tls,
        user,
        host,
        port,
    } = address;
    let mut options = vec![
        "-h".to_owned(),
        host.clone(),
        "-p".to_owned(),
        port.to_string(),
    ];
    if *by_tls {
        options.push("--tls".to_owned());
        // The name that the certificate has to have; redis-cli does not ask for it by itself.
        options.extend(["--sni".to_owned(), host.clone()]);
        options.extend(tls.words());
    }
    if let Some(user) = user {
        options.extend(["--user".to_owned(), user.clone()]);
    }
    options
}

/// Quotes a word for a POSIX shell, if it needs that.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{LoadLine, quoted};
    use crate::commands::project::deploy::address::Address;
    use crate::tls::TlsOptions;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        for (word, expected) in [
            ("build/limits.wasm", "build/limits.wasm"),
            ("", "''"),
            (r#"{"a":["b*"]}"#, r#"'{"a":["b*"]}'"#),
            ("it's $HOME", r"'it'\''s $HOME'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn the_stand_in_is_no_other_word() {
        let address = Address::parse("rediss://deploy@db:7000").expect("it is right");
        let line = LoadLine::new(
            &address,
            &TlsOptions::trusting(Some("ca.pem".into())),
            "module",
            Path::new("build/a b.wasm"),
            vec!["PERMISSIONS".to_owned(), r#"{"a":["b*"]}"#.to_owned()],
        );
        assert_eq!(
            line.command,
            "REDISCLI_AUTH=\"$FERRITE_DEPLOY_PASSWORD\" redis-cli -h db -p 7000 --tls --sni db \
             --cacert ca.pem --user deploy -e -X file WASM.LOAD module file PERMISSIONS '{\"a\":[\"b*\"]}' \
             REPLACE < 'build/a b.wasm'"
        );
    }
}
