//! Archives of images, made of what every Linux has: one program with its libraries.

use std::process::Command;

use serde_json::json;
use skep_harness::images::{ARCHITECTURE, hex, tar};

/// What runs in the containers.
pub const PROGRAM: &str = "/bin/sleep";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A root file system: [`PROGRAM`] and the libraries it is linked with, and a file that tells it from others.
pub fn root(mark: &str) -> Vec<u8> {
    root_of(mark, &[PROGRAM])
}

/// A root file system with a shell and what its scripts use.
pub fn shell_root(mark: &str) -> Vec<u8> {
    root_of(
        mark,
        &["/bin/sh", "/bin/cat", "/bin/stty", "/bin/ls", PROGRAM],
    )
}

fn root_of(mark: &str, programs: &[&str]) -> Vec<u8> {
    let linked = Command::new("ldd").args(programs).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    let words = linked
        .split_whitespace()
        .map(|word| word.trim_end_matches(':'));
    let paths = words
        .filter(|word| word.starts_with('/'))
        .chain(programs.iter().copied());
    let mut files = std::collections::BTreeMap::from([("etc/mark", mark.as_bytes().to_vec())]);
    for path in paths {
        files.insert(path.trim_start_matches('/'), std::fs::read(path).unwrap());
    }
    let files: Vec<_> = files.iter().map(|(path, body)| (*path, &**body)).collect();
    tar(&files)
}

fn config(layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {"Cmd": [PROGRAM, "100000"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(layer))]},
    });
    config.to_string().into_bytes()
}

/// An OCI layout archive with one image of this name; the layer it brings is `brought`.
pub fn oci_layout(name: &str, layer: &[u8], brought: &[u8]) -> Vec<u8> {
    let config = config(layer);
    let named = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": named(CONFIG, &config),
        "layers": [named(LAYER, layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = named(MANIFEST, &manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", hex(bytes));
    tar(&[
        ("oci-layout", &br#"{"imageLayoutVersion":"1.0.0"}"#[..]),
        ("index.json", index.as_bytes()),
        (&path(&manifest), &manifest),
        (&path(&config), &config),
        (&path(layer), brought),
    ])
}

/// What `docker save` wrote before it knew layouts.
pub fn docker_save(name: &str, layer: &[u8]) -> Vec<u8> {
    let config = config(layer);
    let config_name = format!("{}.json", hex(&config));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [name],
        "Layers": ["layer/layer.tar"],
    }]);
    tar(&[
        ("manifest.json", manifest.to_string().as_bytes()),
        (&config_name, &config),
        ("layer/layer.tar", layer),
    ])
}
