//! The disk as a power cut at any step leaves it: before each change of a name a copy of the store is made, and each copy
//! is opened as by a daemon that starts again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skep_proto::ids::TaskId;
use skep_proto::image::Digest;

use super::blob::digest_of;
use super::fetch_tests::Peer;
use super::samples::{Place, Sample, Tar};
use super::store::Store;

/// By store: where copies of it go, and how many there are.
static WATCHED: Mutex<BTreeMap<PathBuf, (PathBuf, usize)>> = Mutex::new(BTreeMap::new());

/// Copies the store that `path` is in, if its disk is watched. While the guard lives no other name changes.
pub(super) fn before(
    path: &Path,
) -> Option<MutexGuard<'static, BTreeMap<PathBuf, (PathBuf, usize)>>> {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let (root, (copies, number)) = watched
        .iter_mut()
        .find(|(root, _)| path.starts_with(root))?;
    copy(root, &copies.join(number.to_string()));
    *number += 1;
    Some(watched)
}

/// With owners, attributes and nodes. A file that is being written may be cut.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// A store whose every step is kept.
struct Watch {
    place: Place,
    copies: tempfile::TempDir,
}

impl Watch {
    fn new(place: Place) -> Self {
        let copies = tempfile::tempdir().unwrap();
        let to = (copies.path().to_owned(), 0);
        let root = place.directory.path().to_owned();
        WATCHED.lock().unwrap().insert(root, to);
        Self { place, copies }
    }

    /// Opens every copy, and the store as it is at last; `check` says what must hold of each.
    fn each(self, least: usize, check: impl Fn(&Place, &str)) {
        let root = self.place.directory.path().to_owned();
        let (_, steps) = WATCHED.lock().unwrap().remove(&root).unwrap();
        assert!(steps >= least, "only {steps} steps were seen");
        copy(&root, &self.copies.path().join(steps.to_string()));
        for step in 0..=steps {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store");
            copy(&self.copies.path().join(step.to_string()), &path);
            let store = Store::open(&path).unwrap();
            let place = Place { directory, store };
            check(&place, &format!("step {step} of {steps}"));
        }
    }
}

/// Two images; the lowest layer is of both.
fn samples() -> [Sample; 2] {
    let base = Tar::new()
        .directory("dir/")
        .file("dir/base", &[1; 3000])
        .done();
    let above = |mark: u8| {
        let tar = Tar::new().file("dir/.wh.base", b"");
        tar.file("dir/.wh..wh..opq", b"")
            .file("mark", &[mark; 2000])
            .done()
    };
    [above(1), above(2)].map(|above| Sample::new(&[base.clone(), above]))
}

async fn fetch(place: &Place, sample: &Sample) {
    let peer = Peer::with(sample);
    place.store.fetch(&peer, sample.digest()).await.unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// What the store says is here is here, byte by byte.
fn is_whole(place: &Place, image: &Digest, step: &str) {
    let held = place
        .store
        .image(image)
        .unwrap_or_else(|| panic!("{step}: {image} is gone"));
    let blobs = held.parts.iter().map(|(blob, _)| blob);
    for digest in blobs.chain(&held.documents) {
        let bytes = std::fs::read(place.store.blob_path(digest)).unwrap();
        assert_eq!(digest_of(&bytes), *digest, "{step}");
    }
    let top = &held.layers[0];
    assert_eq!(
        std::fs::metadata(top.join("mark")).unwrap().len(),
        2000,
        "{step}"
    );
    assert!(held.layers[1].join("dir/base").exists(), "{step}");
    let mut opaque = [0; 8];
    let length = rustix::fs::getxattr(top.join("dir"), "trusted.overlay.opaque", &mut opaque[..]);
    assert_eq!(&opaque[..length.unwrap()], b"y", "{step}");
}

/// Whatever is left works on: both images can be had, and when they go nothing stays.
fn works_on(place: &Place, samples: &[Sample; 2], step: &str) {
    for held in place.store.images() {
        is_whole(place, &held.digest, step);
    }
    runtime().block_on(async {
        for sample in samples {
            fetch(place, sample).await;
        }
    });
    for sample in samples {
        is_whole(place, &sample.digest(), step);
    }
    for sample in samples {
        place.store.remove(&sample.digest()).unwrap();
    }
    place.store.forget_leases().unwrap();
    place.store.collect().unwrap();
    let below = place.store.root().to_owned();
    for part in [
        "blobs/sha256",
        "layers",
        "partial",
        "leases",
        "images",
        "tmp",
        "names",
    ] {
        let entries = std::fs::read_dir(below.join(part)).unwrap();
        let left: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{step}: {left:?}");
    }
}

#[test]
fn a_crash_in_a_fetch_leaves_what_is_used_next_time() {
    let samples = samples();
    let place = Place::new();
    runtime().block_on(fetch(&place, &samples[0]));
    let watch = Watch::new(place);
    runtime().block_on(fetch(&watch.place, &samples[1]));
    watch.each(8, |place, step| {
        is_whole(place, &samples[0].digest(), step);
        // A collection right after the start takes nothing that the next fetch can use.
        let before = place.store.root().join("blobs/sha256");
        let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
        let had = count(&before);
        place.store.collect().unwrap();
        assert_eq!(count(&before), had, "{step}");
        works_on(place, &samples, step);
    });
}

#[test]
fn a_crash_in_a_load_leaves_nothing_half_made() {
    let samples = samples();
    let watch = Watch::new(Place::new());
    let archive = samples[0].oci_archive(|blob| Some(blob.to_vec()));
    watch.place.store.load(&mut archive.as_slice()).unwrap();
    watch.each(6, |place, step| works_on(place, &samples, step));
}

#[test]
fn a_crash_in_a_removal_leaves_the_other_image_whole() {
    let samples = samples();
    let place = Place::new();
    runtime().block_on(async {
        fetch(&place, &samples[0]).await;
        fetch(&place, &samples[1]).await;
    });
    for name in ["app:1", "app:old"] {
        place.store.set_name(name, samples[0].digest()).unwrap();
    }
    let watch = Watch::new(place);
    watch.place.store.remove(&samples[0].digest()).unwrap();
    watch.each(6, |place, step| {
        is_whole(place, &samples[1].digest(), step);
        for name in ["app:1", "app:old"] {
            let means = place.store.named(name);
            let there = |digest: &Digest| place.store.image(digest).is_some();
            assert!(
                means.as_ref().is_none_or(there),
                "{step}: {name} names nothing"
            );
        }
        works_on(place, &samples, step);
    });
}

#[test]
fn a_task_that_starts_and_a_removal_never_both_win() {
    let [sample, _] = samples();
    let place = Place::new();
    let (image, task) = (sample.digest(), TaskId::new(1));
    runtime().block_on(fetch(&place, &sample));
    for _ in 0..50 {
        let (claimed, removed) = std::thread::scope(|scope| {
            let claim = scope.spawn(|| place.store.claim(&task.to_string(), &image).is_ok());
            let remove = scope.spawn(|| place.store.remove(&image).is_ok());
            (claim.join().unwrap(), remove.join().unwrap())
        });
        assert_ne!(claimed, removed, "one of the two, and only one");
        if claimed {
            is_whole(&place, &image, "claimed");
            place.store.prepare_rootfs(task, &image).unwrap();
            place.store.release(task).unwrap();
        } else {
            runtime().block_on(fetch(&place, &sample));
        }
    }
}

#[test]
fn a_collection_beside_fetches_takes_nothing_of_theirs() {
    let samples = samples();
    let place = Place::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                place.store.collect().unwrap();
            }
        });
        let runtime = runtime();
        for round in 0..20 {
            runtime.block_on(async {
                tokio::join!(fetch(&place, &samples[0]), fetch(&place, &samples[1]));
            });
            for sample in &samples {
                is_whole(&place, &sample.digest(), &format!("round {round}"));
                place.store.remove(&sample.digest()).unwrap();
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
