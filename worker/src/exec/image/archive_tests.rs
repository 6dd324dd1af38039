//! Archives of images, whole and broken.

use serde_json::json;
use tar::EntryType;

use super::blob::digest_of;
use super::samples::{Place, Sample, Tar, gzip};
use super::*;

fn layer() -> Vec<u8> {
    Tar::new().file("bin/app", b"app").done()
}

fn whole(blob: &[u8]) -> Option<Vec<u8>> {
    Some(blob.to_vec())
}

fn load(place: &Place, archive: &[u8]) -> Result<Vec<Loaded>, ImageError> {
    place.store.load(&mut &*archive)
}

#[test]
fn an_oci_archive_is_loaded_with_its_name_and_digest() {
    let sample = Sample::new(&[layer(), layer()]);
    for archive in [sample.oci_archive(whole), gzip(&sample.oci_archive(whole))] {
        let place = Place::new();
        let loaded = load(&place, &archive).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].names, ["app:1"]);
        assert_eq!(loaded[0].digest, sample.digest());
        let bytes: usize = sample.blobs().iter().map(|blob| blob.len()).sum();
        // The same layer twice counts twice, as in its manifest.
        assert_eq!(loaded[0].size, u64::try_from(bytes).unwrap());
        assert!(place.list("tmp").is_empty());
    }
}

fn docker_archive(sample: &Sample, config_name: &str) -> Vec<u8> {
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": ["docker.io/library/app:2", "other"],
        "Layers": ["one/layer.tar", "two/layer.tar"],
    }]);
    Tar::new()
        .file("one/layer.tar", &layer())
        .link(EntryType::Symlink, "two/layer.tar", "../one/layer.tar")
        .file(config_name, &sample.config)
        .file("manifest.json", manifest.to_string().as_bytes())
        .file("repositories", b"{}")
        .done()
}

#[test]
fn what_docker_saved_is_loaded_with_a_digest_that_stays() {
    let sample = Sample::new(&[layer(), layer()]);
    let archive = docker_archive(
        &sample,
        &format!("{}.json", digest_of(&sample.config).hex()),
    );
    let (one, two) = (Place::new(), Place::new());
    let loaded = load(&one, &archive).unwrap();
    assert_eq!(loaded[0].names, ["app:2", "other:latest"]);
    assert_eq!(load(&two, &archive).unwrap(), loaded);
    assert_eq!(load(&one, &archive).unwrap(), loaded);
}

#[test]
fn a_forged_configuration_is_refused() {
    let sample = Sample::new(&[layer(), layer()]);
    let name = format!("{}.json", digest_of(b"another").hex());
    let refused = load(&Place::new(), &docker_archive(&sample, &name)).unwrap_err();
    assert!(
        matches!(refused, ImageError::WrongDigest { .. }),
        "{refused}"
    );
}

#[test]
fn a_blob_with_another_content_is_refused() {
    let sample = Sample::new(&[layer()]);
    for spoiled in 0..3 {
        let place = Place::new();
        let archive = sample.oci_archive(|blob| {
            let mut body = blob.to_vec();
            if sample.blobs()[spoiled] == blob {
                body.push(b' ');
            }
            Some(body)
        });
        let refused = load(&place, &archive).unwrap_err();
        assert!(
            matches!(refused, ImageError::WrongDigest { .. }),
            "{refused}"
        );
        assert!(place.store.images().is_empty());
    }
}

#[test]
fn a_missing_blob_is_named() {
    let sample = Sample::new(&[layer()]);
    let archive = sample.oci_archive(|blob| (blob != sample.layers[0]).then(|| blob.to_vec()));
    let refused = load(&Place::new(), &archive).unwrap_err().to_string();
    let hex = digest_of(&sample.layers[0]).hex();
    assert!(
        refused.contains(&hex) && refused.contains("missing"),
        "{refused}"
    );
}

#[test]
fn a_layer_with_another_diff_id_is_refused() {
    let mut sample = Sample::new(&[layer()]);
    let other = Sample::new(&[Tar::new().file("other", b"").done()]);
    sample.manifest = String::from_utf8(sample.manifest)
        .unwrap()
        .replace(
            &digest_of(&sample.config).hex(),
            &digest_of(&other.config).hex(),
        )
        .into_bytes();
    sample.config = other.config;
    let place = Place::new();
    let refused = load(&place, &sample.oci_archive(whole))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("unpacked layer"), "{refused}");
    assert!(place.list("layers").is_empty() && place.store.images().is_empty());
}

#[test]
fn what_holds_no_image_says_what_to_do() {
    for (archive, expected) in [
        (b"#!/bin/sh\n".to_vec(), "not a tar archive"),
        (Vec::new(), "empty"),
        (layer(), "image import"),
        (
            Tar::new().file("index.json", b"{").done(),
            "index.json cannot be understood",
        ),
        (
            Tar::new().file("manifest.json", b"[{}]").done(),
            "manifest.json cannot be understood",
        ),
        (
            Tar::new()
                .link(EntryType::Symlink, "index.json", "/etc/passwd")
                .done(),
            "image import",
        ),
    ] {
        let refused = load(&Place::new(), &archive).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn an_image_for_other_machines_says_for_which() {
    let sample = Sample::new(&[layer()]);
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": sample.digest().to_string(),
        "size": sample.manifest.len(),
        "platform": {"os": "linux", "architecture": "s390x"},
    }]});
    let archive = Tar::new()
        .file("index.json", index.to_string().as_bytes())
        .done();
    let refused = load(&Place::new(), &archive).unwrap_err().to_string();
    assert!(refused.contains("linux/s390x"), "{refused}");
}

#[test]
fn a_root_file_system_is_imported() {
    let config = ImageConfig {
        cmd: vec!["/bin/app".to_owned()],
        ..ImageConfig::default()
    };
    let (one, two) = (Place::new(), Place::new());
    let squeezed = gzip(&layer());
    let loaded = one.store.import(&mut squeezed.as_slice(), &config).unwrap();
    assert_eq!(
        two.store.import(&mut squeezed.as_slice(), &config).unwrap(),
        loaded
    );
    let held = one.store.image(&loaded.digest).unwrap();
    assert_eq!(held.config, config);
    assert_eq!(
        std::fs::read(held.layers[0].join("bin/app")).unwrap(),
        b"app"
    );
    let manifest = one.store.document(&loaded.digest).unwrap();
    assert!(String::from_utf8(manifest).unwrap().contains("tar+gzip"));
}

#[test]
fn a_broken_import_leaves_nothing() {
    let place = Place::new();
    let squeezed = gzip(&Tar::new().file("a", &[3; 100_000]).done());
    let cut = &squeezed[..squeezed.len() / 2];
    place
        .store
        .import(&mut &*cut, &ImageConfig::default())
        .unwrap_err();
    for part in ["tmp", "layers", "blobs/sha256", "images"] {
        assert!(place.list(part).is_empty(), "{part}");
    }
}
