//! Whether a registry takes a name and a password.

use reqwest::{Method, StatusCode};

use super::Registries;
use super::auth::{Challenge, RegistryAuth, basic};
use super::error::RegistryError;
use super::reference::{Reference, normal};
use super::request::{Ask, accept};
use super::settings::Endpoint;

/// What a registry said to a login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedIn {
    /// To be kept in place of the password, where the registry gives one.
    pub identity_token: Option<String>,
}

impl Registries {
    /// Shows a registry who we are.
    ///
    /// # Errors
    /// When it refuses, or does not answer.
    pub async fn login(
        &self,
        registry: &str,
        auth: &RegistryAuth,
    ) -> Result<LoggedIn, RegistryError> {
        let image = Reference {
            registry: normal(registry).to_owned(),
            repository: String::new(),
            tag: String::new(),
            digest: None,
        };
        let ask = Ask {
            method: Method::GET,
            path: String::new(),
            what: "the login".to_owned(),
            image: &image,
            auth: Some(auth),
            headers: accept("*/*"),
        };
        let mut failed = None;
        let endpoints = self.endpoints(&image.registry);
        for endpoint in endpoints.into_iter().filter(|one| !one.mirror) {
            match self.login_at(&endpoint, &ask, auth).await {
                Err(error @ RegistryError::Unreachable { .. }) => failed = Some(error),
                other => return other,
            }
        }
        Err(failed.unwrap_or_else(|| RegistryError::Unreachable {
            registry: image.registry.clone(),
            reason: "there is no address for it".to_owned(),
        }))
    }

    async fn login_at(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        auth: &RegistryAuth,
    ) -> Result<LoggedIn, RegistryError> {
        let response = self.send(endpoint, ask, None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            // It lets everybody in.
            self.checked(ask, Some(auth), response).await?;
            return Ok(LoggedIn {
                identity_token: None,
            });
        }
        match Challenge::find(response.headers()) {
            Some(challenge @ Challenge::Bearer { .. }) => {
                let granted = self.grant(endpoint, ask, Some(auth), challenge, "").await;
                let granted = granted.map_err(plainly)?;
                Ok(LoggedIn {
                    identity_token: granted.refresh_token.filter(|token| !token.is_empty()),
                })
            }
            Some(Challenge::Basic) => {
                let response = self.send(endpoint, ask, Some(&basic(auth))).await?;
                self.checked(ask, Some(auth), response)
                    .await
                    .map_err(plainly)?;
                Ok(LoggedIn {
                    identity_token: None,
                })
            }
            None => {
                self.checked(ask, Some(auth), response).await?;
                Ok(LoggedIn {
                    identity_token: None,
                })
            }
        }
    }
}

/// At a login the way out is not to log in.
fn plainly(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused {
            registry,
            what,
            said,
            ..
        } => RegistryError::Refused {
            registry,
            what,
            said,
            way_out: "the name or the password is wrong".to_owned(),
        },
        other => other,
    }
}
