//! Names that images have on this node. A name is a file, so that two names change side by side.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use skep_proto::image::Digest;

use super::blob::digest_of;
use super::error::{ImageError, malformed};
use super::files;
use super::keep::remove_file;
use super::store::{Store, entries};

const VERSION: u32 = 1;

/// What `names/HEX` holds; HEX is the SHA-256 of the name.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    name: String,
    digest: String,
}

impl Store {
    fn by_name(&self) -> MutexGuard<'_, BTreeMap<String, Digest>> {
        self.inner
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.root()
            .join("names")
            .join(digest_of(name.as_bytes()).hex())
    }

    /// Reads the names; one whose image is not here means nothing any more.
    pub(super) fn find_names(&self) -> Result<(), ImageError> {
        for path in entries(&self.root().join("names"))? {
            let record = fs::read(&path).ok();
            let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let record = record.filter(|record| record.version == VERSION);
            let named = record.and_then(|it| Some((it.name, it.digest.parse::<Digest>().ok()?)));
            match named {
                Some((name, digest)) if self.image(&digest).is_some() => {
                    self.by_name().insert(name, digest);
                }
                _ => remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// Gives an image that is here a name, which may have been another's. Blocks.
    ///
    /// # Errors
    /// When the image is not here.
    pub fn set_name(&self, name: &str, digest: Digest) -> Result<(), ImageError> {
        if self.image(&digest).is_none() {
            return Err(ImageError::Absent(digest));
        }
        let record = Record {
            version: VERSION,
            name: name.to_owned(),
            digest: digest.to_string(),
        };
        let bytes = serde_json::to_vec(&record).map_err(|error| malformed("a name", error))?;
        let mut names = self.by_name();
        files::write_whole(&self.scratch(), &self.name_path(name), &bytes)?;
        names.insert(name.to_owned(), digest);
        Ok(())
    }

    /// What a name means on this node; in its familiar form, with its tag.
    pub fn named(&self, name: &str) -> Option<Digest> {
        self.by_name().get(name).copied()
    }

    /// All names, ascending.
    pub fn names(&self) -> BTreeMap<String, Digest> {
        self.by_name().clone()
    }

    /// Names of an image, ascending.
    pub fn names_of(&self, digest: &Digest) -> Vec<String> {
        let names = self.by_name();
        let of = names.iter().filter(|(_, named)| *named == digest);
        of.map(|(name, _)| name.clone()).collect()
    }

    /// Takes a name away; says whether it was there. Blocks.
    pub fn forget_name(&self, name: &str) -> Result<bool, ImageError> {
        let mut names = self.by_name();
        remove_file(&self.name_path(name))?;
        Ok(names.remove(name).is_some())
    }
}
