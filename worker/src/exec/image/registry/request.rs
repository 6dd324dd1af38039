//! One request to a registry: to each place it may be had from, with a token where one is wanted.

use bytes::BytesMut;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::Registries;
use super::auth::{Challenge, Granted, RegistryAuth, Token, TokenKey, basic};
use super::client::chain;
use super::error::RegistryError;
use super::reference::{DEFAULT_REGISTRY, Reference};
use super::settings::{Endpoint, Trust};

/// The most that an answer may have which is neither a manifest nor a blob.
const MAX_WORDS: usize = 1 << 20;
/// Of a registry's own words, so much is shown.
const MAX_SAID: usize = 300;

/// What is asked for.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Below `/v2/REPOSITORY/`.
    pub(super) path: String,
    /// For a person, such as `image reg:5000/app:1`.
    pub(super) what: String,
    pub(super) image: &'a Reference,
    pub(super) auth: Option<&'a RegistryAuth>,
    pub(super) headers: HeaderMap,
}

impl Registries {
    /// Asks one place after the other; the registry's own answer counts when none gives it.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let mut failed: Option<RegistryError> = None;
        for endpoint in self.endpoints(&ask.image.registry) {
            let error = match self.ask_one(&endpoint, ask).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if matches!(error, RegistryError::Unreachable { .. }) {
                self.shun(&endpoint);
            }
            tracing::debug!(endpoint = endpoint.base, %error, "not from here");
            failed = Some(worse(failed, error, &endpoint));
        }
        Err(failed.unwrap_or_else(|| RegistryError::Unreachable {
            registry: ask.image.registry.clone(),
            reason: "there is no address for it".to_owned(),
        }))
    }

    async fn ask_one(&self, endpoint: &Endpoint, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let auth = ask.auth.filter(|_| !endpoint.mirror);
        let key = TokenKey {
            base: endpoint.base.clone(),
            repository: ask.image.repository.clone(),
            auth: auth.cloned(),
        };
        let known = self.inner.tokens.get(&key);
        let response = self.send(endpoint, ask, known.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.checked(ask, auth, response).await;
        }
        let scope = format!("repository:{}:pull", ask.image.repository);
        let challenge = Challenge::find(response.headers());
        let Some(token) = self.token(endpoint, ask, auth, challenge, &scope).await? else {
            return self.checked(ask, auth, response).await;
        };
        let response = self.send(endpoint, ask, Some(&token)).await?;
        if response.status().is_success() {
            self.inner.tokens.put(key, token);
        }
        self.checked(ask, auth, response).await
    }

    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        token: Option<&Token>,
    ) -> Result<Response, RegistryError> {
        let client = self.client(endpoint)?;
        // A mirror of another registry than Docker's has to be told whose image it is.
        let whose = match endpoint.mirror && ask.image.registry != DEFAULT_REGISTRY {
            true => format!("?ns={}", ask.image.registry),
            false => String::new(),
        };
        let repository = match ask.image.repository.as_str() {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let url = format!("{}/v2/{repository}{}{whose}", endpoint.base, ask.path);
        let mut request = client
            .request(ask.method.clone(), url)
            .headers(ask.headers.clone());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, &token.header);
        }
        let sent = request.send().await;
        sent.map_err(|error| unreachable(&ask.image.registry, endpoint, &error))
    }

    fn client(&self, endpoint: &Endpoint) -> Result<reqwest::Client, RegistryError> {
        let directories = &self.inner.settings.certificates;
        self.inner
            .clients
            .of(&endpoint.host, endpoint.trust, directories)
    }

    /// What a challenge is met with; none: there is nothing to meet it with.
    pub(super) async fn token(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        auth: Option<&RegistryAuth>,
        challenge: Option<Challenge>,
        scope: &str,
    ) -> Result<Option<Token>, RegistryError> {
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(auth.map(basic)),
            Some(challenge) => {
                let granted = self.grant(endpoint, ask, auth, challenge, scope).await?;
                let wrong = || RegistryError::Wrong {
                    registry: ask.image.registry.clone(),
                    what: "a token".to_owned(),
                    reason: "the token service gave none".to_owned(),
                };
                granted.token().map(Some).ok_or_else(wrong)
            }
        }
    }

    /// Asks a token service.
    pub(super) async fn grant(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        auth: Option<&RegistryAuth>,
        challenge: Challenge,
        scope: &str,
    ) -> Result<Granted, RegistryError> {
        let Challenge::Bearer {
            realm,
            service,
            scope: wanted,
        } = challenge
        else {
            return Err(wrong(ask, "it asks for no token"));
        };
        let client = self.realm_client(endpoint, ask, auth, &realm)?;
        // What the registry asks for, unless it leaves that to us.
        let scope = wanted.as_deref().unwrap_or(scope);
        let mut fields: Vec<(&str, &str)> = Vec::new();
        fields.extend(service.as_deref().map(|service| ("service", service)));
        if !scope.is_empty() {
            fields.push(("scope", scope));
        }
        let identity = auth.map(|auth| auth.identity_token.as_str());
        let request = match identity.filter(|token| !token.is_empty()) {
            Some(token) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("client_id", "skep"),
                ]);
                let form = "application/x-www-form-urlencoded";
                let request = client.post(&realm).header("content-type", form);
                request.body(encoded(&fields))
            }
            None => {
                let glue = if realm.contains('?') { '&' } else { '?' };
                let url = match auth {
                    // Asks for something to keep instead of the password.
                    Some(_) => format!("{realm}{glue}{}&account=skep", encoded(&fields)),
                    None => format!("{realm}{glue}{}", encoded(&fields)),
                };
                let request = client.get(url);
                match auth {
                    Some(auth) => request.header(AUTHORIZATION, basic(auth).header),
                    None => request,
                }
            }
        };
        let sent = request.send().await;
        let response = sent.map_err(|error| unreachable(&ask.image.registry, endpoint, &error))?;
        let response = self.checked(ask, auth, response).await?;
        let bytes = bounded(response, MAX_WORDS)
            .await
            .map_err(|reason| wrong(ask, &reason))?;
        serde_json::from_slice(&bytes).map_err(|error| wrong(ask, &format!("its token: {error}")))
    }

    fn realm_client(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        auth: Option<&RegistryAuth>,
        realm: &str,
    ) -> Result<reqwest::Client, RegistryError> {
        let url = reqwest::Url::parse(realm)
            .map_err(|error| wrong(ask, &format!("its token service \"{realm}\": {error}")))?;
        if auth.is_some() && url.scheme() != "https" && endpoint.base.starts_with("https://") {
            return Err(wrong(
                ask,
                &format!("it wants the password sent to {realm}, over plain http"),
            ));
        }
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(wrong(ask, "its token service has no host")),
        };
        // A registry that nobody vouches for says nothing for its token service, unless that is the same host.
        let trust = if host == endpoint.host {
            endpoint.trust
        } else {
            Trust::Verified
        };
        let trust = match self
            .inner
            .settings
            .endpoints(&host)
            .iter()
            .any(|one| one.trust == Trust::Anything)
        {
            true => Trust::Anything,
            false => trust,
        };
        self.inner
            .clients
            .of(&host, trust, &self.inner.settings.certificates)
    }

    /// The answer if it is one, else what to say.
    pub(super) async fn checked(
        &self,
        ask: &Ask<'_>,
        auth: Option<&RegistryAuth>,
        response: Response,
    ) -> Result<Response, RegistryError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let registry = ask.image.registry.clone();
        let later = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let later = later.map_or_else(String::new, |later| {
            format!(", and wants to be asked again after {later}")
        });
        let said = said(response).await;
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Refused {
                what: ask.what.clone(),
                said,
                way_out: way_out(&registry, auth),
                registry,
            },
            StatusCode::NOT_FOUND => RegistryError::Absent {
                registry,
                what: ask.what.clone(),
                there_is: String::new(),
            },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => RegistryError::Busy {
                registry,
                status: status.as_u16(),
                said: format!("{said}{later}"),
            },
            status if status.is_server_error() => RegistryError::Busy {
                registry,
                status: status.as_u16(),
                said: format!("{said}{later}"),
            },
            status => RegistryError::Wrong {
                registry,
                what: ask.what.clone(),
                reason: format!("{status}{said}"),
            },
        })
    }
}

fn way_out(registry: &str, auth: Option<&RegistryAuth>) -> String {
    match auth {
        None => format!(
            "log in with: skep login {registry}, then give it to the service with --with-registry-auth"
        ),
        Some(_) => format!(
            "the login is not good for this, or no longer; log in anew with: skep login {registry}, then \
             skep service update --with-registry-auth"
        ),
    }
}

pub(super) fn wrong(ask: &Ask<'_>, reason: &str) -> RegistryError {
    RegistryError::Wrong {
        registry: ask.image.registry.clone(),
        what: ask.what.clone(),
        reason: reason.to_owned(),
    }
}

/// Of two failures the one that says more: the registry's own over a mirror's, an answer over none. An https that
/// speaks no TLS is said only where plain http does not answer either.
fn worse(first: Option<RegistryError>, second: RegistryError, at: &Endpoint) -> RegistryError {
    match first {
        Some(first) if at.mirror || matches!(second, RegistryError::Unreachable { .. }) => {
            if matches!(first, RegistryError::Unreachable { .. }) {
                second
            } else {
                first
            }
        }
        _ => second,
    }
}

fn unreachable(registry: &str, endpoint: &Endpoint, error: &reqwest::Error) -> RegistryError {
    let reason = chain(error);
    let hint = match reason.contains("certificate") || reason.contains("UnknownIssuer") {
        true => format!(
            "; put the authority that signed it into /etc/skep/certs.d/{}/ca.crt",
            endpoint.host
        ),
        false => String::new(),
    };
    RegistryError::Unreachable {
        registry: registry.to_owned(),
        reason: format!("{reason}{hint}"),
    }
}

/// A registry's own words, after a colon.
async fn said(response: Response) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(bytes) = bounded(response, MAX_WORDS).await else {
        return String::new();
    };
    let Ok(errors) = serde_json::from_slice::<Errors>(&bytes) else {
        return String::new();
    };
    let words = errors
        .errors
        .into_iter()
        .map(|one| match one.message.is_empty() {
            true => one.code,
            false => one.message,
        });
    let words: Vec<String> = words.filter(|text| !text.is_empty()).collect();
    if words.is_empty() {
        return String::new();
    }
    let printable = |it: &char| !it.is_control();
    let text: String = words
        .join("; ")
        .chars()
        .filter(printable)
        .take(MAX_SAID)
        .collect();
    format!(" ({text})")
}

/// The whole of a small answer.
pub(super) async fn bounded(mut response: Response, most: usize) -> Result<BytesMut, String> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if bytes.len().saturating_add(chunk.len()) > most {
            return Err(format!("it is longer than {most} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// As in an address or a form.
fn encoded(fields: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://x/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(fields);
    }
    url.and_then(|url| url.query().map(str::to_owned))
        .unwrap_or_default()
}

/// A header that accepts these media types.
pub(super) fn accept(types: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(types) {
        headers.insert(ACCEPT, value);
    }
    headers
}
