//! Converts tokens. Their digests go to managers alone.

use super::field::{digest, id, message, optional};
use super::{WireError, WireId, v1};
use crate::time::WallTime;
use crate::token::{
    DeployBounds, ImagePattern, ReplicaRange, StoredToken, Token, TokenRole, TokenSpec,
};

impl From<&Token> for v1::Token {
    fn from(token: &Token) -> Self {
        Self {
            id: token.id.to_bytes(),
            version: token.version,
            created_ms: token.created.unix_millis(),
            by: token.by.clone(),
            expires_ms: token.expires.map(WallTime::unix_millis),
            spec: Some((&token.spec).into()),
        }
    }
}

impl TryFrom<v1::Token> for Token {
    type Error = WireError;

    fn try_from(from: v1::Token) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            version: from.version,
            created: WallTime::from_unix_millis(from.created_ms),
            by: from.by,
            expires: from.expires_ms.map(WallTime::from_unix_millis),
            spec: message(from.spec, "spec")?,
        })
    }
}

impl From<&StoredToken> for v1::StoredToken {
    fn from(stored: &StoredToken) -> Self {
        Self {
            token: Some((&stored.token).into()),
            digest: stored.digest.0.to_vec(),
        }
    }
}

impl TryFrom<v1::StoredToken> for StoredToken {
    type Error = WireError;

    fn try_from(from: v1::StoredToken) -> Result<Self, WireError> {
        Ok(Self {
            token: message(from.token, "token")?,
            digest: digest(&from.digest, "digest")?,
        })
    }
}

impl From<&TokenSpec> for v1::TokenSpec {
    fn from(spec: &TokenSpec) -> Self {
        use v1::token_spec::Role;
        Self {
            name: spec.name.clone(),
            role: Some(match &spec.role {
                TokenRole::Admin => Role::Admin(v1::AdminRole {}),
                TokenRole::Read => Role::Read(v1::ReadRole {}),
                TokenRole::Deploy(bounds) => Role::Deploy(bounds.into()),
            }),
        }
    }
}

impl TryFrom<v1::TokenSpec> for TokenSpec {
    type Error = WireError;

    fn try_from(from: v1::TokenSpec) -> Result<Self, WireError> {
        use v1::token_spec::Role;
        Ok(Self {
            name: from.name,
            role: match from.role.ok_or_else(|| WireError::missing("role"))? {
                Role::Admin(v1::AdminRole {}) => TokenRole::Admin,
                Role::Read(v1::ReadRole {}) => TokenRole::Read,
                Role::Deploy(bounds) => TokenRole::Deploy(message(Some(bounds), "role.deploy")?),
            },
        })
    }
}

impl From<&DeployBounds> for v1::DeployRole {
    fn from(bounds: &DeployBounds) -> Self {
        Self {
            services: bounds.services.iter().cloned().collect(),
            images: bounds.images.iter().map(ToString::to_string).collect(),
            replicas: bounds.replicas.map(|range| v1::ReplicaRange {
                least: range.least,
                most: range.most,
            }),
        }
    }
}

impl TryFrom<v1::DeployRole> for DeployBounds {
    type Error = WireError;

    fn try_from(from: v1::DeployRole) -> Result<Self, WireError> {
        let pattern = |text: String| {
            text.parse::<ImagePattern>()
                .map_err(|error| WireError::new("images", error.to_string()))
        };
        Ok(Self {
            services: from.services.into_iter().collect(),
            images: from
                .images
                .into_iter()
                .map(pattern)
                .collect::<Result<_, _>>()?,
            replicas: optional(from.replicas, "replicas")?,
        })
    }
}

impl TryFrom<v1::ReplicaRange> for ReplicaRange {
    type Error = WireError;

    fn try_from(from: v1::ReplicaRange) -> Result<Self, WireError> {
        let (least, most) = (from.least, from.most);
        if least > most {
            let reason = format!("{least} is more than {most}");
            return Err(WireError::new("least", reason));
        }
        Ok(Self { least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TokenId;
    use crate::image::Digest;

    #[test]
    fn every_role_reads_back() {
        let bounds = |images: &[&str], replicas| DeployBounds {
            services: ["api".into(), "web".into()].into(),
            images: images.iter().filter_map(|text| text.parse().ok()).collect(),
            replicas,
        };
        let range = Some(ReplicaRange { least: 1, most: 5 });
        for (role, expires) in [
            (TokenRole::Admin, None),
            (TokenRole::Read, Some(WallTime::from_unix_millis(9))),
            (
                TokenRole::Deploy(bounds(&["r.io/web", "nginx:1.*"], range)),
                None,
            ),
            (TokenRole::Deploy(bounds(&[], None)), None),
        ] {
            let name = "ci".into();
            let stored = StoredToken {
                token: Token {
                    id: TokenId::new(7),
                    version: 3,
                    created: WallTime::from_unix_millis(5),
                    by: "anna@host".into(),
                    expires,
                    spec: TokenSpec { name, role },
                },
                digest: Digest([4; 32]),
            };
            assert_eq!(
                StoredToken::try_from(v1::StoredToken::from(&stored)),
                Ok(stored)
            );
        }
    }

    #[test]
    fn a_role_that_is_not_known_is_none() {
        let message = v1::TokenSpec {
            name: "ci".into(),
            role: None,
        };
        assert!(TokenSpec::try_from(message).is_err());
    }
}
