//! Who asks: credentials, what a registry challenges with, and the tokens it gives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;
pub use skep_proto::image::RegistryAuth;

/// How long a token is good that does not say so; the specification's figure.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// A token is not used for so long before its end.
const MARGIN: Duration = Duration::from_secs(5);
/// Tokens kept at once.
const MAX_TOKENS: usize = 1000;

/// What a registry wants to know before it answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Challenge {
    /// A token from somewhere else.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
    /// Name and password.
    Basic,
}

impl Challenge {
    /// The challenge of an answer 401 that we can meet; a token where both are offered.
    pub(super) fn find(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            let parsed = http_auth::parser::ChallengeParser::new(text);
            for challenge in parsed.map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
                let value = |name: &str| {
                    let found = challenge.params.iter();
                    let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.next().map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = value("realm")
                {
                    return Some(Self::Bearer {
                        realm,
                        service: value("service"),
                        scope: value("scope"),
                    });
                }
            }
        }
        basic
    }
}

/// What a token service answers.
#[derive(Deserialize)]
pub(super) struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    /// What a login keeps instead of the password.
    pub(super) refresh_token: Option<String>,
}

impl Granted {
    /// The token, when there is one.
    pub(super) fn token(self) -> Option<Token> {
        let life = self.expires_in.map_or(TOKEN_LIFE, Duration::from_secs);
        let text = self
            .token
            .filter(|text| !text.is_empty())
            .or(self.access_token);
        Some(Token {
            header: format!("Bearer {}", text.filter(|text| !text.is_empty())?),
            until: Instant::now().checked_add(life.saturating_sub(MARGIN)),
        })
    }
}

/// What goes into the header of a request.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: String,
    /// None: for ever.
    until: Option<Instant>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// The header of a name and password.
pub(super) fn basic(auth: &RegistryAuth) -> Token {
    let text = format!("{}:{}", auth.username, auth.password);
    Token {
        header: format!("Basic {}", data_encoding::BASE64.encode(text.as_bytes())),
        until: None,
    }
}

/// For which requests a token is good.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenKey {
    pub(super) base: String,
    pub(super) repository: String,
    pub(super) auth: Option<RegistryAuth>,
}

/// Tokens that are good still.
#[derive(Default)]
pub(super) struct Tokens(Mutex<BTreeMap<TokenKey, Token>>);

impl Tokens {
    pub(super) fn get(&self, key: &TokenKey) -> Option<Token> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, token| token.until.is_none_or(|until| now < until));
        tokens.get(key).cloned()
    }

    pub(super) fn put(&self, key: TokenKey, token: Token) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(key, token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::find(&headers)
    }

    #[test]
    fn challenges_of_real_registries_are_understood() {
        let hub = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                   scope=\"repository:library/nginx:pull\"";
        let Some(Challenge::Bearer {
            realm,
            service,
            scope,
        }) = challenge(&[hub])
        else {
            panic!("not understood");
        };
        assert_eq!(realm, "https://auth.docker.io/token");
        assert_eq!(service.as_deref(), Some("registry.docker.io"));
        assert_eq!(scope.as_deref(), Some("repository:library/nginx:pull"));
        assert_eq!(challenge(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        let both = challenge(&["Basic realm=\"x\"", "bearer realm=\"https://y\""]);
        assert!(matches!(both, Some(Challenge::Bearer { .. })));
        assert_eq!(challenge(&["Negotiate"]), None);
        assert_eq!(challenge(&[]), None);
    }

    #[test]
    fn a_token_without_text_is_none_and_an_old_one_is_forgotten() {
        let granted = |text: &str| serde_json::from_str::<Granted>(text).unwrap().token();
        assert!(granted("{}").is_none());
        assert!(granted("{\"token\":\"\"}").is_none());
        let token = granted("{\"access_token\":\"abc\",\"expires_in\":300}").unwrap();
        assert_eq!(token.header, "Bearer abc");
        let (tokens, old) = (
            Tokens::default(),
            granted("{\"token\":\"a\",\"expires_in\":0}"),
        );
        let key = TokenKey {
            base: String::new(),
            repository: String::new(),
            auth: None,
        };
        tokens.put(key.clone(), old.unwrap());
        assert!(tokens.get(&key).is_none());
        tokens.put(key.clone(), token);
        assert!(tokens.get(&key).is_some());
    }
}
