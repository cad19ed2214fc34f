//! Reads what functions may do on the network.

use std::fs::File;
use std::io::{self, Read as _};

use ferrite_runtime::policy::network::address::{IpRange, IpRangeError};
use ferrite_runtime::policy::network::rule::{NetworkRules, RuleError};
use ferrite_runtime::{NetworkLimits, NetworkOptions};

use crate::config::{Config, WasmNetwork};

/// Longest file of certificates that is read, in bytes.
const CA_FILE_BYTES_MAX: u64 = 4 << 20;

/// Reason why the network of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A text that is no rule.
    #[error("wasm.security.allow_network: {rule:?}: {problem}")]
    Rule {
        /// The text.
        rule: Box<str>,
        /// The problem.
        problem: RuleError,
    },
    /// A text that is no range of addresses.
    #[error("wasm.security.allow_private_network: {0}")]
    Range(#[from] IpRangeError),
    /// The file of certificates cannot be read.
    #[error("wasm.network.ca_file: {path}: {problem}")]
    Certificates {
        /// The file.
        path: String,
        /// The file system's error.
        problem: io::Error,
    },
    /// No request could be made.
    #[error("wasm.network.max_concurrent is 0; leave allow_network out instead")]
    NoConcurrency,
}

/// Reads the options of the network. Relative paths are resolved against `server.dir`.
pub(crate) fn read(config: &Config) -> Result<NetworkOptions, NetworkError> {
    let WasmNetwork {
        max_requests,
        max_request,
        max_response,
        max_time,
        connect_timeout,
        max_redirects,
        max_concurrent,
        max_outbox,
        outbox_tries,
        ca_file,
    } = &config.network;
    let security = &config.security;
    let rules = NetworkRules::parse(&security.allow_network.0)
        .map_err(|(rule, problem)| NetworkError::Rule { rule, problem })?;
    if *max_concurrent == 0 {
        return Err(NetworkError::NoConcurrency);
    }
    let private_ranges = security
        .allow_private_network
        .iter()
        .map(|range| range.parse::<IpRange>())
        .collect::<Result<_, _>>()?;
    let mut extra_roots = Vec::new();
    if let Some(path) = ca_file {
        let path = config.below_dir(path);
        File::open(&path)
            .and_then(|file| file.take(CA_FILE_BYTES_MAX).read_to_end(&mut extra_roots))
            .map_err(|problem| NetworkError::Certificates {
                path: path.display().to_string(),
                problem,
            })?;
    }
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(NetworkOptions {
        rules,
        private_ranges,
        limits: NetworkLimits {
            requests_max: narrow(*max_requests),
            request_bytes_max: max_request.0,
            response_bytes_max: max_response.0,
            time_max: max_time.0,
            connect_time_max: connect_timeout.0,
            redirects_max: narrow(*max_redirects),
            concurrent_max: *max_concurrent,
            outbox_max: *max_outbox,
            outbox_tries_max: narrow(*outbox_tries).max(1),
        },
        extra_roots,
        resolver: None,
    })
}

#[cfg(test)]
mod tests {
    use ferrite_runtime::NetworkLimits;

    use super::read;
    use crate::config::Config;

    #[test]
    fn the_defaults_allow_nothing() {
        let options = read(&Config::default()).expect("the defaults are right");
        assert!(options.rules.is_empty() && options.private_ranges.is_empty());
        assert_eq!(options.limits, NetworkLimits::DEFAULT);
    }

    #[test]
    fn what_is_wrong_is_said_at_the_start() {
        for (text, expected) in [
            (
                "[wasm.security]\nallow_network = true",
                "wasm.security.allow_network",
            ),
            (
                "[wasm.security]\nallow_network = [\"example.com\"]",
                "wasm.security.allow_network",
            ),
            (
                "[wasm.security]\nallow_private_network = [\"10.0.0.1/8\"]",
                "the range begins at 10.0.0.0",
            ),
            (
                "[wasm.network]\nca_file = \"/nonexistent/ca.pem\"",
                "wasm.network.ca_file: /nonexistent/ca.pem: ",
            ),
            ("[wasm.network]\nmax_concurrent = 0", "max_concurrent is 0"),
        ] {
            let error = Config::parse("ferrite.toml".as_ref(), text).expect_err(text);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
