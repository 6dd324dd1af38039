//! Fetching from sources that break, lie and stall.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use skep_proto::image::Digest;

use super::blob::digest_of;
use super::samples::{Place, Sample, Tar};
use super::*;

/// Another node, in memory.
#[derive(Default)]
pub(super) struct Peer {
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// Streams break after so many bytes, this often.
    breaks: Mutex<usize>,
    break_after: usize,
    /// Nobody answers after so many questions.
    answers: Mutex<usize>,
    /// Offsets that were asked for.
    asked: Mutex<Vec<(Digest, u64)>>,
}

impl Peer {
    pub(super) fn with(sample: &Sample) -> Self {
        let blobs = sample.blobs();
        Self {
            blobs: blobs
                .iter()
                .map(|blob| (digest_of(blob), blob.to_vec()))
                .collect(),
            break_after: usize::MAX,
            answers: Mutex::new(usize::MAX),
            ..Self::default()
        }
    }
}

impl Source for Peer {
    fn blob(
        &self,
        _: Digest,
        wanted: Wanted,
        offset: u64,
    ) -> BoxFuture<'_, io::Result<BlobStream>> {
        let digest = wanted.digest();
        self.asked.lock().unwrap().push((digest, offset));
        async move {
            {
                let mut answers = self.answers.lock().unwrap();
                *answers = answers
                    .checked_sub(1)
                    .ok_or(io::ErrorKind::ConnectionRefused)?;
            }
            let blob = self.blobs.get(&digest).ok_or(io::ErrorKind::NotFound)?;
            let rest = &blob[usize::try_from(offset).unwrap()..];
            let mut breaks = self.breaks.lock().unwrap();
            let mut chunks: Vec<io::Result<Bytes>> = Vec::new();
            let broken = *breaks > 0 && rest.len() > self.break_after;
            let length = if broken { self.break_after } else { rest.len() };
            for chunk in rest[..length].chunks(1000) {
                chunks.push(Ok(Bytes::copy_from_slice(chunk)));
            }
            if broken {
                *breaks -= 1;
                chunks.push(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Ok(stream::iter(chunks).boxed())
        }
        .boxed()
    }
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn sample() -> Sample {
    let layer = |seed| Tar::new().file("file", &noise(seed, 20_000)).done();
    Sample::new(&[layer(1), layer(2), layer(3), layer(1)])
}

#[tokio::test]
async fn an_image_is_fetched_whole() {
    let (place, sample) = (Place::new(), sample());
    let peer = Peer::with(&sample);
    let held = place.store.fetch(&peer, sample.digest()).await.unwrap();
    assert_eq!(held.layers.len(), 4);
    assert_eq!(
        std::fs::read(held.layers[2].join("file")).unwrap(),
        noise(2, 20_000)
    );
    let asked = peer.asked.lock().unwrap().len();
    assert_eq!(
        asked, 5,
        "manifest, configuration and each of three layers once"
    );
    place.store.fetch(&peer, sample.digest()).await.unwrap();
    assert_eq!(peer.asked.lock().unwrap().len(), asked);
}

#[tokio::test]
async fn two_who_ask_at_once_fetch_once() {
    let (place, sample) = (Place::new(), sample());
    let peer = Peer::with(&sample);
    let (one, two) = futures_util::join!(
        place.store.fetch(&peer, sample.digest()),
        place.store.fetch(&peer, sample.digest())
    );
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(peer.asked.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_broke() {
    let (place, sample) = (Place::new(), sample());
    let mut peer = Peer::with(&sample);
    (peer.break_after, peer.breaks) = (5000, Mutex::new(3));
    place.store.fetch(&peer, sample.digest()).await.unwrap();
    let asked = peer.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|(_, offset)| *offset == 5000), "{asked:?}");
}

#[tokio::test]
async fn a_fetch_that_was_given_up_goes_on_after_a_restart() {
    let (place, sample) = (Place::new(), sample());
    let mut peer = Peer::with(&sample);
    (peer.break_after, peer.breaks) = (5000, Mutex::new(100));
    peer.answers = Mutex::new(6);
    let failed = place.store.fetch(&peer, sample.digest()).await.unwrap_err();
    assert!(matches!(failed, ImageError::Fetch { .. }), "{failed}");
    // The last writer may still be about to notice that it was given up.
    let place = tokio::task::spawn_blocking(|| place).await.unwrap();
    assert!(!place.list("partial").is_empty());
    let whole = Peer::with(&sample);
    place.store.fetch(&whole, sample.digest()).await.unwrap();
    let asked = whole.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|(_, offset)| *offset > 0), "{asked:?}");
    assert!(place.list("partial").is_empty());
}

#[tokio::test]
async fn a_lying_source_is_found_out() {
    let sample = sample();
    for blob in sample.blobs() {
        let place = Place::new();
        let mut peer = Peer::with(&sample);
        let content = peer.blobs.get_mut(&digest_of(blob)).unwrap();
        let last = content.len() - 1;
        content[last] ^= 1;
        let refused = place.store.fetch(&peer, sample.digest()).await.unwrap_err();
        assert!(
            matches!(refused, ImageError::WrongDigest { .. }),
            "{refused}"
        );
        assert!(place.store.image(&sample.digest()).is_none());
        let honest = Peer::with(&sample);
        place.store.fetch(&honest, sample.digest()).await.unwrap();
    }
}

#[tokio::test]
async fn more_bytes_than_announced_are_refused() {
    let (place, sample) = (Place::new(), sample());
    let mut peer = Peer::with(&sample);
    peer.blobs
        .get_mut(&digest_of(&sample.layers[1]))
        .unwrap()
        .extend_from_slice(&[0; 100]);
    let refused = place.store.fetch(&peer, sample.digest()).await.unwrap_err();
    assert!(matches!(refused, ImageError::WrongSize { .. }), "{refused}");
}

#[tokio::test]
async fn a_leftover_that_is_wrong_is_fetched_anew() {
    let (place, sample) = (Place::new(), sample());
    let first = digest_of(&sample.layers[0]);
    std::fs::write(place.store.partial_path(&first), b"not its beginning").unwrap();
    let peer = Peer::with(&sample);
    assert!(place.store.fetch(&peer, sample.digest()).await.is_err());
    place.store.fetch(&peer, sample.digest()).await.unwrap();
}

/// The sample with another manifest: `change` gets the honest one.
fn forged(change: impl FnOnce(&mut Value)) -> Sample {
    let mut sample = sample();
    let mut manifest: Value = serde_json::from_slice(&sample.manifest).unwrap();
    change(&mut manifest);
    sample.manifest = manifest.to_string().into_bytes();
    sample
}

/// Fetches what a hostile source gives by a digest that is right; gives why it is refused.
async fn refused(sample: &Sample) -> String {
    let place = Place::new();
    let hostile = Peer::with(sample);
    let fetched = place.store.fetch(&hostile, sample.digest()).await;
    let error = crate::report::with_causes(&fetched.unwrap_err());
    assert!(place.store.image(&sample.digest()).is_none(), "{error}");
    // Nothing of it is in the way of the honest image, which has the same layers.
    let honest = self::sample();
    let whole = Peer::with(&honest);
    place.store.fetch(&whole, honest.digest()).await.unwrap();
    assert!(place.list("partial").is_empty(), "{error}");
    assert!(place.list("tmp").is_empty(), "{error}");
    error
}

#[tokio::test]
async fn a_document_of_two_kinds_is_refused() {
    let index = "application/vnd.oci.image.index.v1+json";
    let both = forged(|manifest| manifest["manifests"] = json!([]));
    let named = forged(|manifest| manifest["mediaType"] = index.into());
    let old = forged(|manifest| manifest["fsLayers"] = json!([]));
    for (sample, words) in [
        (both, "an index and an image's manifest at once"),
        (named, "and is not"),
        (old, "schema 1"),
    ] {
        let error = refused(&sample).await;
        assert!(error.contains(words), "{error}");
    }
    // Which of two equal keys counts is for each reader to choose.
    let mut twice = sample();
    let text = String::from_utf8(twice.manifest).unwrap();
    let text = text.replacen('{', "{\"layers\":[],", 1);
    twice.manifest = text.into_bytes();
    let error = refused(&twice).await;
    assert!(error.contains("duplicate field `layers`"), "{error}");
}

#[tokio::test]
async fn a_size_that_is_not_the_contents_is_refused() {
    let size = |value: &mut Value, change: i64| {
        *value = (value.as_i64().unwrap() + change).into();
    };
    let config = forged(|manifest| size(&mut manifest["config"]["size"], 1));
    let long = forged(|manifest| size(&mut manifest["layers"][1]["size"], 1));
    let short = forged(|manifest| size(&mut manifest["layers"][1]["size"], -1));
    let huge = forged(|manifest| manifest["layers"][1]["size"] = u64::MAX.into());
    for (sample, words) in [
        (config, "the configuration sha256:"),
        (long, "end of file"),
        (short, "bytes, not"),
        (huge, "end of file"),
    ] {
        let error = refused(&sample).await;
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_index_that_lies_of_its_manifest_is_refused() {
    let inner = sample();
    let entry = |size: usize, digest: Digest| {
        json!({"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest.to_string(),
            "size": size,
        }]})
    };
    let wrong = entry(inner.manifest.len() + 1, inner.digest()).to_string();
    let nested = entry(wrong.len(), digest_of(wrong.as_bytes())).to_string();
    for (index, words) in [(&wrong, "the manifest sha256:"), (&nested, "another index")] {
        let place = Place::new();
        let mut peer = Peer::with(&inner);
        for document in [&wrong, &nested] {
            let document = document.clone().into_bytes();
            peer.blobs.insert(digest_of(&document), document);
        }
        let asked = digest_of(index.as_bytes());
        let error = place.store.fetch(&peer, asked).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(place.store.image(&asked).is_none());
    }
}
