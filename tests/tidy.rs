//! Style is a test too.
//!
//! Each rule is a function from a file to what is wrong with it, tried here on samples that break it: a rule
//! that cannot fail guards nothing. The rules read text; they know nothing of Rust beyond words and lines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it cannot read its files"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/samples.rs"]
mod samples;

/// A file of the workspace.
struct File {
    /// From the workspace's root, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_owned()
}

/// Every `.rs` and `Cargo.toml` of the workspace's members.
fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    for room in [
        "cli", "deploy", "manager", "netd", "proto", "tests", "worker",
    ] {
        collect(&root, &root.join(room), &mut found);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" {
                collect(root, &path, found);
            }
        } else if name == "Cargo.toml" || name.ends_with(".rs") {
            let relative = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(&path).unwrap();
            found.push(File {
                path: relative,
                text,
            });
        }
    }
}

#[test]
fn every_file_follows_the_rules() {
    let files = files();
    assert!(files.len() > 50, "only {} files were found", files.len());
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let found = rules::ALL
                .iter()
                .flat_map(|rule| rule(&file.path, &file.text));
            found
                .map(|what| format!("{}: {what}", file.path))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} things to tidy:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
