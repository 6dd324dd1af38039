//! How far the layers of an image are that is being fetched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use skep_proto::image::Digest;

use super::manifest::Part;

/// Where a layer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayerState {
    /// Others go first.
    Waiting,
    /// So many of its bytes are here.
    Fetching(u64),
    /// All bytes are here.
    Unpacking,
    /// It was fetched and unpacked.
    Done,
    /// It was here already.
    Present,
}

/// Layers with their sizes and states. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<BTreeMap<Digest, (u64, LayerState)>>>);

impl Progress {
    /// Layers known by now: digest, size of the blob in bytes, state.
    pub fn layers(&self) -> Vec<(Digest, u64, LayerState)> {
        let layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        layers
            .iter()
            .map(|(digest, (size, state))| (*digest, *size, *state))
            .collect()
    }

    pub(super) fn known(&self, blob: Part) {
        let mut layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(blob.digest, (blob.size, LayerState::Waiting));
    }

    pub(super) fn set(&self, digest: Digest, state: LayerState) {
        let mut layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = layers.get_mut(&digest) {
            layer.1 = state;
        }
    }
}
