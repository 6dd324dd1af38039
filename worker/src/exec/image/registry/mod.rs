//! Registries: what a name means there, and the content of images from there.
//!
//! Speaks OCI distribution 1.1 and Docker's second version, which differ in media types only. What comes is
//! checked by the store, so nothing here trusts a digest that a server tells.

mod auth;
mod client;
mod error;
mod login;
mod reference;
mod request;
mod resolve;
mod settings;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use auth::RegistryAuth;
pub use error::RegistryError;
pub(super) use error::is_final;
pub use login::LoggedIn;
pub use reference::{DEFAULT_REGISTRY, Reference, ReferenceError, normal};
pub use resolve::Resolved;
pub use settings::{RegistrySettings, SettingsError};
pub use source::RegistrySource;

use auth::Tokens;
use client::Clients;
use settings::Endpoint;

/// A place that did not answer is asked last for so long.
const SHUNNED: Duration = Duration::from_secs(30);

/// All registries, as this machine reaches them. Clones share connections and tokens.
#[derive(Clone)]
pub struct Registries {
    inner: Arc<Inner>,
}

struct Inner {
    settings: RegistrySettings,
    clients: Clients,
    tokens: Tokens,
    /// Bases that did not answer, and until when they are asked last.
    shunned: Mutex<BTreeMap<String, Instant>>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Default for Registries {
    fn default() -> Self {
        Self::new(RegistrySettings::default())
    }
}

impl Registries {
    /// Reached as `settings` say. Nobody is asked yet.
    pub fn new(settings: RegistrySettings) -> Self {
        // The HTTP client asks for the program's default, and would end it where there is none.
        skep_proto::channel::install_provider();
        Self {
            inner: Arc::new(Inner {
                settings,
                clients: Clients::default(),
                tokens: Tokens::default(),
                shunned: Mutex::default(),
            }),
        }
    }

    /// Where a registry's content may be had: who did not answer lately comes last.
    fn endpoints(&self, registry: &str) -> Vec<Endpoint> {
        let mut found = self.inner.settings.endpoints(registry);
        let mut shunned = self
            .inner
            .shunned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        shunned.retain(|_, until| now < *until);
        found.sort_by_key(|endpoint| shunned.contains_key(&endpoint.base));
        found
    }

    fn shun(&self, endpoint: &Endpoint) {
        let mut shunned = self
            .inner
            .shunned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = Instant::now().checked_add(SHUNNED) {
            shunned.insert(endpoint.base.clone(), until);
        }
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
