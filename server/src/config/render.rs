//! Writes a configuration as TOML, and the table of keys as help and as documentation.

use std::fmt::Write as _;

use super::raw_config::KeyInfo;
use super::sections::sections;

/// Writes a file with these values; each secret becomes a comment.
pub(super) fn toml(written: &[(&'static KeyInfo, String)]) -> String {
    let mut out = String::new();
    let mut section = "";
    for (key, value) in written {
        if key.section != section {
            section = key.section;
            if !out.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "[{section}]");
        }
        if key.secret && value != "\"\"" {
            let _ = writeln!(out, "# {} is set and not shown", key.name);
        } else {
            let _ = writeln!(out, "{} = {value}", key.name);
        }
    }
    out
}

/// Returns the text of `--help`.
#[must_use]
pub fn help() -> String {
    let mut out = String::from(
        "A Redis-compatible server that runs WebAssembly functions beside its data.\n\n\
         Usage: ferrite-server [--config FILE] [FLAG VALUE]…\n\n  \
         --config FILE    read this file (also FERRITE_CONFIG)\n  \
         --check-config   check the configuration, and stop\n  \
         --restore FOLDER bring a backup back to where no data is, and stop\n  \
         hash-password    read a password and print its hash for the configuration\n  \
         --print-config   show the resulting configuration, and stop\n  \
         --version, --help\n\n\
         Every key of the file has a flag and an environment variable. Flags win over variables,\n\
         variables over the file.\n",
    );
    for section in sections() {
        let _ = writeln!(out, "\n[{}]", section.name);
        for key in section.keys {
            let _ = writeln!(out, "  {} (default {})", key.flag(), shown_default(key));
            for line in key.doc {
                let _ = writeln!(out, "     {line}");
            }
        }
    }
    out
}

/// Returns the page `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Written by the tests of ferrite-server from its table of keys; do not edit. -->\n\n\
         `ferrite-server --config ferrite.toml` reads a file; without one, the defaults apply. Every\n\
         key also has a flag and an environment variable. Flags win over variables, variables over\n\
         the file. `--check-config` checks a configuration and `--print-config` shows the\n\
         resulting one. An unknown key is an error that names the nearest known one.\n\n\
         Sizes are written `512KB`, `16MB`, `1GB` (powers of 1024), times `250ms`, `5s`, `2m`, `1h`,\n\
         `7d`. Lists are arrays in the file, and separated by commas elsewhere. Relative paths are\n\
         resolved against `server.dir`.\n",
    );
    for section in sections() {
        let _ = writeln!(out, "\n## [{}]\n", section.name);
        paragraph(&mut out, section.doc);
        for key in section.keys {
            let _ = writeln!(out, "\n### {}\n", key.path());
            paragraph(&mut out, key.doc);
            let _ = writeln!(
                out,
                "\nDefault `{}`. Flag `{}`, variable `{}`. It must be {}.",
                shown_default(key),
                key.flag(),
                key.variable(),
                key.kind,
            );
        }
    }
    out
}

fn paragraph(out: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(out, "{}", line.trim());
    }
}

/// Writes a default as in a file.
fn shown_default(key: &KeyInfo) -> String {
    if key.default.is_empty() {
        if key.list {
            "[]".to_owned()
        } else {
            "\"\"".to_owned()
        }
    } else {
        key.default.to_owned()
    }
}
