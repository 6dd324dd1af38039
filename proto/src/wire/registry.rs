//! Converts what proves to a registry who asks.

use std::fmt;

use super::v1;
use crate::image::RegistryAuth;
use crate::service::Service;

impl From<&RegistryAuth> for v1::RegistryAuth {
    fn from(auth: &RegistryAuth) -> Self {
        Self {
            username: auth.username.clone(),
            password: auth.password.clone(),
            identity_token: auth.identity_token.clone(),
        }
    }
}

impl From<v1::RegistryAuth> for RegistryAuth {
    fn from(from: v1::RegistryAuth) -> Self {
        Self {
            username: from.username,
            password: from.password,
            identity_token: from.identity_token,
        }
    }
}

impl fmt::Debug for v1::RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryAuth { (not shown) }")
    }
}

/// A service with its credentials: for the log and for snapshots, both encrypted. `From` leaves them out.
pub fn with_auth(service: &Service) -> v1::Service {
    v1::Service {
        registry_auth: service.auth.as_deref().map(Into::into),
        ..service.into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wire::arbitrary::Draw;

    #[test]
    fn only_the_log_gets_a_services_credentials_and_nothing_prints_them() {
        let auth = RegistryAuth {
            username: "me".into(),
            password: "sesame".into(),
            identity_token: "open".into(),
        };
        let mut service = Draw::new(7).service();
        service.auth = Some(Arc::new(auth));
        assert_eq!(Service::try_from(with_auth(&service)).unwrap(), service);
        assert_eq!(v1::Service::from(&service).registry_auth, None);
        for text in [format!("{service:?}"), format!("{:?}", with_auth(&service))] {
            assert!(!text.contains("sesame") && !text.contains("open"), "{text}");
        }
    }
}
