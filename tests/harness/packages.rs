//! Programs of Debian as tests need them: fetched once into a cache, unpacked, never installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use crate::images::OciImage;

/// What a test that misses a package ends with.
const HELP: &str = "this test needs packages of Debian: run it where `apt-get download` works (a Debian machine \
                    with access to its mirrors, after `apt-get update`)";

/// Where packages are kept and unpacked: below the build directory, which labs see as we do.
pub fn cache() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let cache = target.join("debian");
    fs::create_dir_all(&cache).expect("a directory for packages");
    cache.canonicalize().expect("the directory of packages")
}

/// The named packages and the libraries that they need, unpacked into one directory. Made once for each set;
/// other packages that they depend on are to be named.
///
/// # Panics
/// When they cannot be had, with the sentence that helps.
pub fn tree(packages: &[&str]) -> PathBuf {
    let cache = cache();
    let lock = fs::File::create(cache.join("lock")).expect("a lock file");
    // Tests of other programs want the same.
    let _alone = Flock::lock(lock, FlockArg::LockExclusive).expect("the packages' lock");
    let tree = cache.join(format!("tree-{}", packages.join("+")));
    if tree.exists() {
        return tree;
    }
    let fresh = tempfile::tempdir_in(&cache).expect("a directory to unpack in");
    for package in with_libraries(packages) {
        let archive = download(&cache, &package);
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(&archive)
            .arg(fresh.path()));
    }
    fs::rename(fresh.keep(), &tree).expect("a name for what was unpacked");
    tree
}

/// An archive of one image, as `image load` takes it: the files of `tree`, run as `config` says (the object
/// `config` of an image's configuration, such as `{"Cmd": […]}`).
///
/// # Panics
/// When the tree cannot be read.
pub fn image(name: &str, tree: &Path, config: Value) -> Vec<u8> {
    OciImage::new(vec![layer(tree)], config).archive(name)
}

/// The files of a tree as a layer: owned by root, whatever they are here.
///
/// # Panics
/// When the tree cannot be read.
pub fn layer(tree: &Path) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args([
        "--numeric-owner",
        "--owner=0",
        "--group=0",
        "--sort=name",
        "-C",
    ]);
    let output = tar
        .arg(tree)
        .args(["-cf", "-", "."])
        .output()
        .expect("tar runs");
    assert!(
        output.status.success(),
        "tar: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The packages and all libraries below them. Not those that only Perl and a compiler at run time are for.
fn with_libraries(packages: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut fresh: BTreeSet<String> = packages.iter().map(|name| (*name).to_owned()).collect();
    while !fresh.is_empty() {
        let mut ask = Command::new("apt-cache");
        ask.args(["depends", "--important"]).args(&fresh);
        let text = run(&mut ask);
        found.append(&mut fresh);
        // Behind a bar stands a choice; what is in angle brackets is no package.
        let lines = text.lines().map(|line| line.trim_start_matches([' ', '|']));
        let names = lines.filter_map(|line| {
            line.strip_prefix("Depends: ")
                .or_else(|| line.strip_prefix("PreDepends: "))
        });
        let needed = names.filter(|name| library(name) && !found.contains(*name));
        fresh.extend(needed.map(str::to_owned));
    }
    found
}

fn library(name: &str) -> bool {
    let left_out =
        name.ends_with("-perl") || name.starts_with("libperl") || name.starts_with("libllvm");
    (name.starts_with("lib") || name.starts_with("zlib")) && !left_out
}

fn download(cache: &Path, package: &str) -> PathBuf {
    let found = || {
        let prefix = format!("{package}_");
        let entries = fs::read_dir(cache)
            .expect("the cache")
            .filter_map(Result::ok);
        let mut paths = entries.map(|entry| entry.path());
        paths.find(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with(&prefix) && path.extension().is_some_and(|ending| ending == "deb")
        })
    };
    if let Some(path) = found() {
        return path;
    }
    run(Command::new("apt-get")
        .current_dir(cache)
        .args(["download", "-qq", package]));
    found().unwrap_or_else(|| panic!("apt-get download {package} left nothing; {HELP}"))
}

fn run(command: &mut Command) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}; {HELP}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}; {HELP}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
