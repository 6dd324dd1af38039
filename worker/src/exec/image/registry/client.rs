//! One HTTP client for each host, with the certificates that this machine has for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};

use super::error::RegistryError;
use super::settings::Trust;

/// For a connection to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;
const USER_AGENT: &str = concat!("skep/", env!("CARGO_PKG_VERSION"));

/// Clients by host. They keep connections open for the next request.
#[derive(Default)]
pub(super) struct Clients(Mutex<BTreeMap<(String, Trust), Client>>);

impl Clients {
    /// The client for a host. Reads certificates when it is new.
    pub(super) fn of(
        &self,
        host: &str,
        trust: Trust,
        directories: &[PathBuf],
    ) -> Result<Client, RegistryError> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), trust);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = build(host, trust, directories)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn build(host: &str, trust: Trust, directories: &[PathBuf]) -> Result<Client, RegistryError> {
    let held = Held::read(host, directories)?;
    let builder = || {
        let mut builder = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(USER_AGENT)
            .redirect(downwards_never())
            .danger_accept_invalid_certs(trust == Trust::Anything);
        if let Some(identity) = &held.identity {
            builder = builder.identity(identity.clone());
        }
        builder
    };
    // A machine without any authorities of its own may still have some for this host.
    builder()
        .tls_certs_merge(held.authorities.clone())
        .build()
        .or_else(|_| builder().tls_certs_only(held.authorities.clone()).build())
        .map_err(|error| RegistryError::Certificates {
            registry: host.to_owned(),
            reason: chain(&error),
        })
}

/// Follows redirects, but not from https to plain http. The client takes credentials off when the host changes.
fn downwards_never() -> Policy {
    Policy::custom(|attempt| {
        let was_safe = attempt
            .previous()
            .last()
            .is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if was_safe && attempt.url().scheme() != "https" {
            attempt.error("it redirects from https to plain http")
        } else {
            attempt.follow()
        }
    })
}

/// What lies in `certs.d/HOST`: `*.crt` are authorities, `*.cert` with `*.key` is who we are.
#[derive(Default)]
struct Held {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Held {
    fn read(host: &str, directories: &[PathBuf]) -> Result<Self, RegistryError> {
        let mut held = Self::default();
        for directory in directories {
            let directory = directory.join(host);
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            let mut paths: Vec<PathBuf> =
                entries.filter_map(|one| Some(one.ok()?.path())).collect();
            paths.sort();
            for path in paths {
                held.take(host, &path)?;
            }
        }
        Ok(held)
    }

    fn take(&mut self, host: &str, path: &Path) -> Result<(), RegistryError> {
        let failed = |path: &Path, reason: String| RegistryError::Certificates {
            registry: host.to_owned(),
            reason: format!("{}: {reason}", path.display()),
        };
        let read = |path: &Path| fs::read(path).map_err(|error| failed(path, error.to_string()));
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("crt") => {
                let bundle = Certificate::from_pem_bundle(&read(path)?);
                let bundle = bundle.map_err(|error| failed(path, chain(&error)))?;
                if bundle.is_empty() {
                    return Err(failed(path, "it holds no certificate".to_owned()));
                }
                self.authorities.extend(bundle);
            }
            Some("cert") if self.identity.is_none() => {
                let key = path.with_extension("key");
                if !key.exists() {
                    return Err(failed(path, format!("{} is missing", key.display())));
                }
                let pem = [read(path)?, b"\n".to_vec(), read(&key)?].concat();
                let identity = Identity::from_pem(&pem);
                self.identity = Some(identity.map_err(|error| failed(path, chain(&error)))?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// An error with all that caused it, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
