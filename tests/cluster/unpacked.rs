//! What a node makes of an image's layers, file by file beside what Debian's umoci makes of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::XattrFlags;
use serde_json::Value;
use skep_harness::cluster::Cluster;
use skep_harness::images::hex;
use skep_harness::{packages, programs};

use crate::SKEP;

/// All that a file system says of a path; hard links of one file name the first of them.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut first) = (BTreeMap::new(), BTreeMap::new());
    let mut left = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(path) = left.pop() {
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        }
        paths.push(path);
    }
    paths.sort();
    for path in paths {
        let about = fs::symlink_metadata(&path).unwrap();
        let below = path.strip_prefix(root).unwrap().to_owned();
        let kind = about.file_type();
        let content = match kind {
            _ if kind.is_file() => {
                let same = first.entry(about.ino()).or_insert_with(|| below.clone());
                format!("{} as {}", hex(&fs::read(&path).unwrap()), same.display())
            }
            _ if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            _ => String::new(),
        };
        let size = about.is_file().then_some(about.size());
        let facts = (about.mode(), about.uid(), about.gid(), about.rdev(), size);
        let facts = format!("{facts:?} {:?} {content}", attributes(&path));
        let times = format!(" at {}.{:09}", about.mtime(), about.mtime_nsec());
        // The root directory is the container's own.
        let own = below.as_os_str().is_empty();
        let times = if own { "" } else { &times };
        found.insert(below, format!("{facts}{times}"));
    }
    found
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0);
    let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
    let names = names.filter(|name| !name.is_empty() && !name.starts_with("trusted.overlay."));
    let value = |name: &String| {
        let mut value = [0; 4096];
        let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
        value[..length].to_vec()
    };
    names.map(|name| (name.clone(), value(&name))).collect()
}

/// One of everything that a file system has.
fn odd(tree: &Path) {
    let at = |name: &str| tree.join(name);
    fs::create_dir_all(at("odd/empty")).unwrap();
    for (name, mode) in [
        ("all", 0o777),
        ("none", 0),
        ("setuid", 0o4755),
        ("setgid", 0o2711),
    ] {
        let path = at("odd").join(name);
        fs::write(&path, name).unwrap();
        chown(&path, Some(1234), Some(4321)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(at("odd/sticky")).unwrap();
    chown(at("odd/sticky"), Some(7), Some(8)).unwrap();
    fs::set_permissions(at("odd/sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::hard_link(at("odd/all"), at("odd/sticky/same")).unwrap();
    symlink("nowhere/at/all", at("odd/dangling")).unwrap();
    lchown(at("odd/dangling"), Some(5), Some(6)).unwrap();
    symlink(format!("/{}", "long/".repeat(60)), at("odd/far")).unwrap();
    fs::write(at("odd/line\nbreak"), b"x").unwrap();
    fs::write(at("odd").join(OsStr::from_bytes(b"caf\xe9")), b"x").unwrap();
    fs::write(at("odd/gr\u{fc}n"), b"x").unwrap();
    let deep = at("odd").join(format!("{}/", "d".repeat(90)).repeat(4));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("n".repeat(200)), b"deep").unwrap();
    let device = Mode::from_bits_truncate(0o640);
    mknod(&at("odd/null"), SFlag::S_IFCHR, device, makedev(1, 3)).unwrap();
    mknod(&at("odd/disk"), SFlag::S_IFBLK, device, makedev(7, 9)).unwrap();
    mknod(&at("odd/pipe"), SFlag::S_IFIFO, device, 0).unwrap();
    let mut sparse = File::create(at("odd/sparse")).unwrap();
    sparse.seek(SeekFrom::Start(1 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    // cap_net_bind_service, permitted.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let given = [
        ("security.capability", &capability[..]),
        ("user.note", b"one\ntwo"),
    ];
    for (name, value) in given {
        rustix::fs::setxattr(at("odd/all"), name, value, XattrFlags::empty()).unwrap();
    }
    for (name, seconds) in [("odd/none", 0), ("odd/setgid", 1_000_000_000)] {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let file = File::open(at(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
    }
}

/// What the second layer has where the first had something else.
fn changed(tree: &Path) {
    let odd = tree.join("odd");
    fs::create_dir_all(odd.join("none/below")).unwrap();
    fs::write(odd.join("none/below/file"), b"was a file").unwrap();
    fs::write(odd.join("empty"), b"was a directory").unwrap();
    symlink("all", odd.join("setuid")).unwrap();
    fs::create_dir(odd.join("sticky")).unwrap();
    fs::set_permissions(odd.join("sticky"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(odd.join("sticky/more"), b"x").unwrap();
}

/// The layers of an image on a node, the topmost first.
fn layers(cluster: &Cluster, layout: &Path, tag: &str) -> Vec<PathBuf> {
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &Value| {
        let digest = digest["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let index = read(&layout.join("index.json"));
    let entries = index["manifests"].as_array().unwrap();
    let name = "org.opencontainers.image.ref.name";
    let entry = entries
        .iter()
        .find(|entry| entry["annotations"][name] == tag);
    let config = read(&blob(&read(&blob(entry.unwrap()))["config"]));
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let log = cluster.lab.log_path("node-1").unwrap();
    let store = log.parent().unwrap().join("data/images/layers");
    let id = |id: &Value| {
        id.as_str()
            .unwrap()
            .trim_start_matches("sha256:")
            .to_owned()
    };
    let ids: Vec<String> = ids.iter().rev().map(id).collect();
    // On top of them is the layer of directories that others have something in and do not name.
    let implied = "trusted.overlay.skep.implied";
    let has = |path: &Path| rustix::fs::lgetxattr(path, implied, &mut [0_u8; 8][..]).is_ok();
    assert!(ids.iter().any(|id| has(&store.join(id))), "none is marked");
    let paths = fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let made = paths.filter(|path| !ids.iter().any(|id| path.ends_with(id)));
    let made = made.filter(|path| path.join("etc/nginx").is_dir());
    made.chain(ids.iter().map(|id| store.join(id))).collect()
}

/// A tree of layers as a container sees it, in a mount namespace that ends with the thread.
fn mounted(layers: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let lower: Vec<&str> = layers.iter().map(|path| path.to_str().unwrap()).collect();
    let options = format!("lowerdir={}", lower.join(":"));
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
            mount(none, "/", none, private, none).unwrap();
            let at = tempfile::tempdir_in(packages::cache()).unwrap();
            let kind = Some("overlay");
            mount(
                kind,
                at.path(),
                kind,
                MsFlags::MS_RDONLY,
                Some(options.as_str()),
            )
            .unwrap();
            let tree = tree(at.path());
            nix::mount::umount(at.path()).unwrap();
            tree
        });
        seen.join().unwrap()
    })
}

#[test]
fn an_unpacked_image_is_file_by_file_what_umoci_makes_of_it() {
    let layout = programs::Layout::new(&["nginx", "nginx-common"]);
    layout.add("odd", odd);
    layout.take("odd", "changed");
    layout.add_to("changed", changed);
    layout.hide("changed", "/etc/nginx/mime.types");
    layout.hide("changed", "/usr/share/doc");
    layout.add_opaque("changed", "/etc/nginx/conf.d", |tree| {
        fs::write(tree.join("only"), b"the others are gone").unwrap();
    });
    let bundle = layout.path().join("bundle");
    let image = layout.tag("changed");
    programs::run(
        "umoci",
        &["unpack", "--image", &image, bundle.to_str().unwrap()],
    );
    let theirs = tree(&bundle.join("rootfs"));

    let cluster = Cluster::up(SKEP, 1, 0);
    let archive = layout.archive("changed", "odd:1");
    cluster.skep(
        "node-1",
        &["image", "load", "-i", archive.to_str().unwrap()],
    );
    let ours = mounted(&layers(&cluster, &layout.layout(), "changed"));

    let mut differ = Vec::new();
    for path in theirs.keys().chain(ours.keys()) {
        let (one, other) = (theirs.get(path), ours.get(path));
        if one != other {
            differ.push(format!(
                "{}\n  umoci {one:?}\n  skep  {other:?}",
                path.display()
            ));
        }
    }
    differ.dedup();
    assert!(theirs.len() > 100, "{} files", theirs.len());
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
