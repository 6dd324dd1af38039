//! Where commands go: to the daemon of this machine, or from outside to a cluster with a token.
//!
//! What is typed counts before the environment, a host before a context, as in Docker. Tokens are kept in files of
//! this user alone and are never printed.

mod store;

use std::path::PathBuf;

use anyhow::{Context, bail};
use skep_proto::channel::{AccessToken, Managers};

use crate::args::DEFAULT_HOST;
use crate::daemon::config;

pub use store::{Kept, Store};

/// The context that is the daemon of this machine.
pub const DEFAULT: &str = "default";
/// Where a manager listens if nothing else is said.
const PORT: u16 = 2377;

/// What was said of where to go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// `--context`.
    pub context: Option<String>,
    /// `--host`, or SKEP_HOST.
    pub host: Option<String>,
    /// SKEP_TOKEN.
    pub token: Option<String>,
    /// SKEP_CONTEXT.
    pub usual: Option<String>,
}

/// Where commands go.
#[derive(Clone, Debug)]
pub enum Reach {
    /// To the daemon that listens on this socket.
    Socket(PathBuf),
    /// To whichever of these managers answers, with this token.
    Outside(Managers, AccessToken),
}

impl Said {
    /// What was typed, and what the environment says.
    pub fn of(context: Option<String>, host: Option<String>) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            context,
            host: host.filter(|host| !host.is_empty()),
            token: variable("SKEP_TOKEN"),
            usual: variable("SKEP_CONTEXT"),
        }
    }

    /// The name of the context that this leads to; `None` where a host does without one.
    ///
    /// # Errors
    /// When the files of contexts cannot be read.
    pub fn context(&self) -> anyhow::Result<Option<String>> {
        match (&self.context, &self.host, &self.usual) {
            (Some(name), _, _) => Ok(Some(name.clone())),
            (None, Some(_), _) => Ok(None),
            (None, None, Some(name)) => Ok(Some(name.clone())),
            (None, None, None) => match Store::open() {
                Ok(store) => Ok(Some(store.current()?)),
                // A user without a home has no contexts.
                Err(_) => Ok(Some(DEFAULT.to_owned())),
            },
        }
    }

    /// Where to go.
    ///
    /// # Errors
    /// Names the context, host or token that cannot be used.
    pub fn reach(&self) -> anyhow::Result<Reach> {
        match self.context()? {
            Some(name) if name == DEFAULT => Ok(Reach::Socket(config::socket_of(DEFAULT_HOST)?)),
            Some(name) => {
                let kept = Store::open()?.read(&name)?;
                let managers = addresses(&kept.host)
                    .with_context(|| format!("context \"{name}\" is damaged"))?;
                Ok(Reach::Outside(Managers::new(managers), kept.token))
            }
            None => self.host(),
        }
    }

    fn host(&self) -> anyhow::Result<Reach> {
        let host = self.host.as_deref().unwrap_or(DEFAULT_HOST);
        if !host.starts_with("tcp://") {
            let path = config::socket_of(host).map_err(|_| {
                anyhow::anyhow!(
                    "host \"{host}\": expected unix:///PATH for a daemon of this machine, or \
                     tcp://MANAGER[:PORT],… for a cluster"
                )
            })?;
            return Ok(Reach::Socket(path));
        }
        let managers = addresses(host)?;
        let Some(token) = &self.token else {
            bail!(
                "host \"{host}\": a cluster is reached from outside with a token: set SKEP_TOKEN to what \"skep token \
                 create\" printed, or keep both with: skep context create"
            );
        };
        let token = token.parse().context("SKEP_TOKEN")?;
        Ok(Reach::Outside(Managers::new(managers), token))
    }
}

/// Addresses of `tcp://HOST[:PORT],…` as HOST:PORT each.
///
/// # Errors
/// Names the part that is none.
pub fn addresses(text: &str) -> anyhow::Result<Vec<String>> {
    let wrong = |part: &str| {
        anyhow::anyhow!(
            "--host \"{text}\": \"{part}\" is no address; expected tcp://HOST[:PORT], and further ones after commas"
        )
    };
    let Some(list) = text.strip_prefix("tcp://") else {
        return Err(wrong(text));
    };
    list.split(',')
        .map(|part| {
            let part = part.trim();
            let bare = part.strip_prefix("tcp://").unwrap_or(part);
            address(bare).ok_or_else(|| wrong(part))
        })
        .collect()
}

fn address(text: &str) -> Option<String> {
    if text.is_empty() || text.contains(['/', '@', ' ']) {
        return None;
    }
    if let Ok(ip) = text.parse::<std::net::IpAddr>() {
        return Some(std::net::SocketAddr::new(ip, PORT).to_string());
    }
    match text.rsplit_once(':') {
        None => Some(format!("{text}:{PORT}")),
        Some((host, port)) => {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            let bracketed = host.starts_with('[') && host.ends_with(']');
            (!host.is_empty() && (bracketed || !host.contains(':')))
                .then(|| format!("{host}:{port}"))
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
