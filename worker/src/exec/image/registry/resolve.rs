//! What a tag means: its digest, and for which machines there is something behind it.

use reqwest::Method;
use serde::Deserialize;
use skep_proto::image::Digest;
use skep_proto::spec::Platform;

use super::super::blob::{MAX_DOCUMENT, digest_of};
use super::super::manifest;
use super::Registries;
use super::auth::RegistryAuth;
use super::error::RegistryError;
use super::reference::Reference;
use super::request::{Ask, accept, bounded, wrong};

/// Every kind of manifest that we can read. Some registries convert what is not accepted.
pub(super) const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Tags that are named where one is missing.
const SHOWN_TAGS: usize = 10;

/// What a name means now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Of the index, or of the manifest where there is no index.
    pub digest: Digest,
    /// For which machines it has an image; empty where that is not said.
    pub platforms: Vec<Platform>,
    /// The document itself.
    pub document: Vec<u8>,
}

impl Registries {
    /// Asks a registry what a name means.
    ///
    /// # Errors
    /// Whose fault it is, and the way out.
    pub async fn resolve(
        &self,
        image: &Reference,
        auth: Option<&RegistryAuth>,
    ) -> Result<Resolved, RegistryError> {
        let ask = Ask {
            method: Method::GET,
            path: format!("manifests/{}", image.wanted()),
            what: format!("image {}:{}", image.repository, image.tag),
            image,
            auth,
            headers: accept(MANIFESTS),
        };
        let response = match self.ask(&ask).await {
            Err(RegistryError::Absent { registry, what, .. }) => {
                let there_is = self.tags(image, auth).await;
                return Err(RegistryError::Absent {
                    registry,
                    what,
                    there_is,
                });
            }
            other => other?,
        };
        let most = usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX);
        let document = bounded(response, most)
            .await
            .map_err(|reason| wrong(&ask, &reason))?
            .to_vec();
        let digest = digest_of(&document);
        if image.digest.is_some_and(|wanted| wanted != digest) {
            return Err(wrong(&ask, &format!("its content has {digest}")));
        }
        let platforms = self.platforms(image, auth, &document).await?;
        Ok(Resolved {
            digest,
            platforms,
            document,
        })
    }

    /// Whether a digest may be had still.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(
        &self,
        image: &Reference,
        auth: Option<&RegistryAuth>,
    ) -> Result<(), RegistryError> {
        let ask = Ask {
            method: Method::HEAD,
            path: format!("manifests/{}", image.wanted()),
            what: format!("image {}@{}", image.repository, image.wanted()),
            image,
            auth,
            headers: accept(MANIFESTS),
        };
        self.ask(&ask).await.map(|_| ())
    }

    async fn platforms(
        &self,
        image: &Reference,
        auth: Option<&RegistryAuth>,
        document: &[u8],
    ) -> Result<Vec<Platform>, RegistryError> {
        let understood = |reason: String| RegistryError::Wrong {
            registry: image.registry.clone(),
            what: format!("image {}:{}", image.repository, image.tag),
            reason,
        };
        if manifest::is_index(document).map_err(|error| understood(error.to_string()))? {
            let index = manifest::read_index("the index", document);
            let index = index.map_err(|error| understood(error.to_string()))?;
            return Ok(manifest::platforms(&index));
        }
        let read =
            manifest::Manifest::read(document).map_err(|error| understood(error.to_string()))?;
        let ask = Ask {
            method: Method::GET,
            path: format!("blobs/{}", read.config.digest),
            what: format!(
                "the configuration of image {}:{}",
                image.repository, image.tag
            ),
            image,
            auth,
            headers: accept("*/*"),
        };
        let response = self.ask(&ask).await?;
        let most = usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX);
        let config = bounded(response, most)
            .await
            .map_err(|reason| wrong(&ask, &reason))?;
        #[derive(Deserialize)]
        struct Machine {
            #[serde(default)]
            os: String,
            #[serde(default)]
            architecture: String,
        }
        if digest_of(&config) != read.config.digest {
            return Err(wrong(&ask, "its content has another digest"));
        }
        let machine: Machine =
            serde_json::from_slice(&config).map_err(|error| wrong(&ask, &error.to_string()))?;
        Ok(
            match machine.os.is_empty() || machine.architecture.is_empty() {
                true => Vec::new(),
                false => vec![Platform {
                    os: machine.os,
                    arch: machine.architecture,
                }],
            },
        )
    }

    /// What there is instead of a missing tag, for a person.
    async fn tags(&self, image: &Reference, auth: Option<&RegistryAuth>) -> String {
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let ask = Ask {
            method: Method::GET,
            path: format!("tags/list?n={}", SHOWN_TAGS + 1),
            what: "tags".to_owned(),
            image,
            auth,
            headers: accept("application/json"),
        };
        let response = match self.ask(&ask).await {
            Err(RegistryError::Absent { .. }) => {
                return format!("; it has no repository {}", image.repository);
            }
            Err(_) => return String::new(),
            Ok(response) => response,
        };
        let Ok(bytes) = bounded(response, 1 << 20).await else {
            return String::new();
        };
        let tags = serde_json::from_slice::<Tags>(&bytes)
            .ok()
            .and_then(|tags| tags.tags);
        let mut tags = tags.unwrap_or_default();
        // Registries give them in any order.
        tags.sort();
        if tags.is_empty() {
            return format!("; {} has no tags", image.repository);
        }
        let more = if tags.len() > SHOWN_TAGS { ", …" } else { "" };
        let shown: Vec<&str> = tags.iter().take(SHOWN_TAGS).map(String::as_str).collect();
        format!("; {} has {}{more}", image.repository, shown.join(", "))
    }
}
