//! How registries are reached: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::reference::{host_of, normal};

/// How registries are reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RegistrySettings {
    /// `HOST[:PORT]` or ranges of addresses that may speak plain http, or https that nobody vouches for.
    /// Addresses of this machine (127.0.0.0/8, ::1, localhost) always may.
    pub insecure: Vec<String>,
    /// Base addresses that are asked first, by registry.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Directories with `HOST[:PORT]/{*.crt,*.cert,*.key}`; all that are there count.
    pub certificates: Vec<PathBuf>,
}

/// How a server's certificate is looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Trust {
    /// Somebody we trust must have signed it.
    Verified,
    /// The administrator said that it need not be.
    Anything,
}

/// One place where a registry's content may be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Endpoint {
    /// As `https://host:port`, without a slash at the end.
    pub(super) base: String,
    /// With its port, for certificates.
    pub(super) host: String,
    pub(super) trust: Trust,
    /// A mirror is asked without credentials.
    pub(super) mirror: bool,
}

/// Why settings make no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} \"{text}\": {reason}")]
pub struct SettingsError {
    what: &'static str,
    text: String,
    reason: &'static str,
}

impl RegistrySettings {
    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        for text in &self.insecure {
            if text.contains("://") || (text.contains('/') && text.parse::<IpNet>().is_err()) {
                return Err(SettingsError {
                    what: "insecure-registries",
                    text: text.clone(),
                    reason: "expected HOST[:PORT] or a range such as 10.0.0.0/8",
                });
            }
        }
        for text in self.mirrors.values().flatten() {
            let rest = text
                .strip_prefix("https://")
                .or_else(|| text.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.trim_end_matches('/').is_empty() || rest.contains('@')) {
                return Err(SettingsError {
                    what: "registry-mirrors",
                    text: text.clone(),
                    reason: "expected http://HOST[:PORT] or https://HOST[:PORT]",
                });
            }
        }
        Ok(())
    }

    /// Where a registry's content may be had, in the order in which they are asked.
    pub(super) fn endpoints(&self, registry: &str) -> Vec<Endpoint> {
        let mut found: Vec<Endpoint> = Vec::new();
        for url in self.mirrors.get(registry).into_iter().flatten() {
            found.push(self.mirror(url));
        }
        let host = host_of(registry);
        let own = |scheme: &str, trust| Endpoint {
            base: format!("{scheme}://{host}"),
            host: host.to_owned(),
            trust,
            mirror: false,
        };
        if self.is_insecure(host) {
            found.push(own("https", Trust::Anything));
            found.push(own("http", Trust::Anything));
        } else {
            found.push(own("https", Trust::Verified));
        }
        found
    }

    fn mirror(&self, url: &str) -> Endpoint {
        let base = url.trim_end_matches('/').to_owned();
        let rest = base.split_once("://").map_or(&*base, |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or(rest).to_owned();
        let trust = match self.is_insecure(&host) {
            true => Trust::Anything,
            false => Trust::Verified,
        };
        Endpoint {
            base,
            host,
            trust,
            mirror: true,
        }
    }

    /// Whether a host may speak plain http.
    fn is_insecure(&self, host: &str) -> bool {
        let bare = without_port(host);
        let address = bare.parse::<IpAddr>().ok();
        if bare == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.insecure.iter().any(|named| {
            let within = |range: IpNet| address.is_some_and(|address| range.contains(&address));
            normal(named) == normal(host) || named.parse::<IpNet>().is_ok_and(within)
        })
    }
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((bare, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => bare,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(settings: &RegistrySettings, registry: &str) -> Vec<String> {
        let endpoints = settings.endpoints(registry);
        endpoints.into_iter().map(|one| one.base).collect()
    }

    #[test]
    fn plain_http_is_for_those_that_are_named_and_for_this_machine() {
        let settings = RegistrySettings {
            insecure: vec!["reg.lan:5000".into(), "10.1.0.0/16".into()],
            ..RegistrySettings::default()
        };
        for (registry, expected) in [
            ("docker.io", vec!["https://registry-1.docker.io"]),
            ("reg.lan", vec!["https://reg.lan"]),
            (
                "reg.lan:5000",
                vec!["https://reg.lan:5000", "http://reg.lan:5000"],
            ),
            (
                "10.1.2.3:5000",
                vec!["https://10.1.2.3:5000", "http://10.1.2.3:5000"],
            ),
            ("10.2.2.3:5000", vec!["https://10.2.2.3:5000"]),
            (
                "127.0.0.9:80",
                vec!["https://127.0.0.9:80", "http://127.0.0.9:80"],
            ),
            ("[::1]:80", vec!["https://[::1]:80", "http://[::1]:80"]),
            ("localhost", vec!["https://localhost", "http://localhost"]),
        ] {
            assert_eq!(bases(&settings, registry), expected, "{registry}");
        }
    }

    #[test]
    fn mirrors_come_first_and_get_no_credentials() {
        let mirrors = [(
            "docker.io".to_owned(),
            vec!["http://mirror:5000/".to_owned()],
        )];
        let settings = RegistrySettings {
            mirrors: mirrors.into(),
            ..RegistrySettings::default()
        };
        let endpoints = settings.endpoints("docker.io");
        assert_eq!(endpoints[0].base, "http://mirror:5000");
        assert_eq!(endpoints[0].host, "mirror:5000");
        assert!(endpoints[0].mirror && !endpoints[1].mirror);
        assert_eq!(bases(&settings, "quay.io"), ["https://quay.io"]);
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let insecure = RegistrySettings {
            insecure: vec!["http://reg".into()],
            ..RegistrySettings::default()
        };
        assert!(
            insecure
                .check()
                .unwrap_err()
                .to_string()
                .contains("http://reg")
        );
        let mirrors = RegistrySettings {
            mirrors: [("docker.io".to_owned(), vec!["mirror".to_owned()])].into(),
            ..RegistrySettings::default()
        };
        assert!(
            mirrors
                .check()
                .unwrap_err()
                .to_string()
                .contains("\"mirror\"")
        );
    }
}
