//! Content of one image from its registry.

use std::io;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use skep_proto::image::Digest;

use super::super::fetch::{BlobStream, Source, Wanted};
use super::Registries;
use super::auth::RegistryAuth;
use super::client::chain;
use super::reference::Reference;
use super::request::{Ask, accept};
use super::resolve::MANIFESTS;

/// An image's content, from its registry or one of its mirrors.
#[derive(Clone, Debug)]
pub struct RegistrySource {
    registries: Registries,
    image: Reference,
    auth: Option<RegistryAuth>,
}

impl Registries {
    /// The content of an image.
    pub fn source(&self, image: Reference, auth: Option<RegistryAuth>) -> RegistrySource {
        RegistrySource {
            registries: self.clone(),
            image,
            auth,
        }
    }
}

impl RegistrySource {
    async fn stream(&self, wanted: Wanted, offset: u64) -> io::Result<BlobStream> {
        let (path, mut headers) = match wanted {
            Wanted::Manifest(digest) => (format!("manifests/{digest}"), accept(MANIFESTS)),
            Wanted::Blob(digest) => (format!("blobs/{digest}"), accept("*/*")),
        };
        if offset > 0
            && let Ok(value) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(RANGE, value);
        }
        let ask = Ask {
            method: Method::GET,
            what: format!("{} of image {}", wanted.digest(), self.image.repository),
            path,
            image: &self.image,
            auth: self.auth.as_ref(),
            headers,
        };
        let asked = self.registries.ask(&ask).await;
        let response = asked.map_err(super::RegistryError::into_io)?;
        let begins = begins_at(&response);
        if begins > offset {
            return Err(io::Error::other(format!(
                "registry {} was asked for bytes from {offset} on and gave them from {begins} on",
                self.image.registry
            )));
        }
        Ok(skipping(response, offset - begins))
    }
}

/// Where in the blob an answer begins: a server need not know ranges.
fn begins_at(response: &Response) -> u64 {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return 0;
    }
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let first = range.and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    first.unwrap_or(0)
}

fn skipping(response: Response, mut skip: u64) -> BlobStream {
    let chunks = response.bytes_stream().map(move |chunk| {
        let mut chunk: Bytes = chunk.map_err(|error| io::Error::other(chain(&error)))?;
        let away = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        skip = skip.saturating_sub(u64::try_from(away).unwrap_or(u64::MAX));
        Ok(chunk.split_off(away))
    });
    chunks.boxed()
}

impl Source for RegistrySource {
    fn blob(
        &self,
        _: Digest,
        wanted: Wanted,
        offset: u64,
    ) -> BoxFuture<'_, io::Result<BlobStream>> {
        self.stream(wanted, offset).boxed()
    }
}
