//! Streams that want out, or want too much.

use std::fs;
use std::os::unix::fs::symlink;

use tar::EntryType;

use super::super::samples::{Tar, gzip, zstd};
use super::tests::{unpack, unpack_with};
use super::*;

/// A target with a neighbour that must stay as it is.
struct Guarded {
    directory: tempfile::TempDir,
}

impl Guarded {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("target")).unwrap();
        fs::write(directory.path().join("secret"), b"secret").unwrap();
        Self { directory }
    }

    fn unpack(&self, stream: &[u8]) -> Result<Unpacked, UnpackError> {
        unpack(&self.directory.path().join("target"), stream)
    }

    fn is_untouched(&self) {
        let secret = self.directory.path().join("secret");
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
        assert_eq!(
            std::os::unix::fs::MetadataExt::nlink(&fs::metadata(&secret).unwrap()),
            1
        );
        let names = fs::read_dir(self.directory.path()).unwrap().count();
        assert_eq!(names, 2, "something was made beside the target");
    }
}

fn reason(result: Result<Unpacked, UnpackError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn names_that_lead_out_are_refused() {
    for path in ["../secret", "a/../../secret", ".."] {
        let guarded = Guarded::new();
        let answer = reason(guarded.unpack(&Tar::new().file(path, b"changed").done()));
        assert!(answer.contains("leads out"), "{answer}");
        guarded.is_untouched();
    }
}

#[test]
fn absolute_names_stay_inside() {
    let guarded = Guarded::new();
    let inside = guarded.directory.path().join("secret");
    let path = inside.to_str().unwrap();
    guarded
        .unpack(&Tar::new().file(path, b"inside").done())
        .unwrap();
    guarded.is_untouched();
}

#[test]
fn links_in_parents_lead_nowhere_but_inside() {
    for target in ["..", "/", "../..", "/proc/self/root", "/../../.."] {
        let guarded = Guarded::new();
        let stream = Tar::new()
            .link(EntryType::Symlink, "out", target)
            .file("out/secret", b"changed")
            .done();
        // Either it lands inside or it is refused; both are right.
        let _ = guarded.unpack(&stream);
        guarded.is_untouched();
    }
}

#[test]
fn a_link_is_replaced_and_never_written_through() {
    let guarded = Guarded::new();
    let stream = Tar::new()
        .link(EntryType::Symlink, "name", "../secret")
        .file("name", b"changed")
        .done();
    guarded.unpack(&stream).unwrap();
    guarded.is_untouched();
    let name = guarded.directory.path().join("target/name");
    assert!(fs::symlink_metadata(name).unwrap().is_file());
}

#[test]
fn hard_links_reach_nothing_outside() {
    for target in ["../secret", "/../secret", "/etc/passwd", "missing"] {
        let guarded = Guarded::new();
        let stream = Tar::new().link(EntryType::Link, "got", target).done();
        assert!(guarded.unpack(&stream).is_err(), "{target}");
        guarded.is_untouched();
    }
    let guarded = Guarded::new();
    let stream = Tar::new()
        .link(EntryType::Symlink, "out", "..")
        .link(EntryType::Link, "got", "out/secret")
        .done();
    assert!(guarded.unpack(&stream).is_err());
    guarded.is_untouched();
}

#[test]
fn whiteouts_through_links_hide_nothing_outside() {
    let guarded = Guarded::new();
    let stream = Tar::new()
        .link(EntryType::Symlink, "out", "..")
        .file("out/.wh.secret", b"")
        .file("out/.wh..wh..opq", b"")
        .done();
    let _ = guarded.unpack(&stream);
    guarded.is_untouched();
    for name in [".wh...", ".wh..", ".wh."] {
        assert!(
            guarded.unpack(&Tar::new().file(name, b"").done()).is_err(),
            "{name}"
        );
    }
    guarded.is_untouched();
}

#[test]
fn a_link_already_in_the_target_is_not_followed_out() {
    let guarded = Guarded::new();
    symlink("../secret", guarded.directory.path().join("target/trap")).unwrap();
    symlink("..", guarded.directory.path().join("target/up")).unwrap();
    let stream = Tar::new()
        .file("trap", b"changed")
        .file("up/secret", b"changed")
        .done();
    let _ = guarded.unpack(&stream);
    guarded.is_untouched();
}

#[test]
fn bounds_hold() {
    let target = tempfile::tempdir().unwrap();
    let limits = Limits {
        entries: 2,
        bytes: 1 << 20,
    };
    let try_it = |stream: &[u8]| reason(unpack_with(target.path(), Kind::Layer, limits, stream));
    let many = Tar::new()
        .file("a", b"")
        .file("b", b"")
        .file("c", b"")
        .done();
    assert!(try_it(&many).contains("more than 2 entries"));
    let bomb = Tar::new().file("zeros", &vec![0; 8 << 20]).done();
    for stream in [gzip(&bomb), zstd(&bomb), bomb] {
        let answer = try_it(&stream);
        assert!(answer.contains("more than 1048576 bytes"), "{answer}");
    }
}

#[test]
fn what_is_no_archive_says_so() {
    let target = tempfile::tempdir().unwrap();
    let try_it = |stream: &[u8]| reason(unpack(target.path(), stream));
    assert!(try_it(b"").contains("it is empty"));
    assert!(try_it(b"hello, world").contains("not a tar archive"));
    assert!(try_it(&[b'x'; 4096]).contains("not a tar archive"));
    assert!(try_it(&gzip(b"hello")).contains("not a tar archive"));
    let good = Tar::new().file("a", &[1; 5000]).done();
    assert!(try_it(&good[..3000]).contains("ends within a file"));
    let squeezed = gzip(&good);
    let cut = try_it(&squeezed[..squeezed.len() / 2]);
    assert!(cut.contains("incomplete"), "{cut}");
}

#[test]
fn long_extension_headers_are_refused() {
    let target = tempfile::tempdir().unwrap();
    let long = Tar::new().link(EntryType::XHeader, "x", "");
    let long = long.raw(
        EntryType::GNULongName,
        "x",
        "",
        |_| (),
        &vec![b'a'; 2 << 20],
    );
    let answer = reason(unpack(target.path(), &long.file("a", b"").done()));
    assert!(answer.contains("longer than 1 MiB"), "{answer}");
}

#[test]
fn the_child_is_confined() {
    let target = tempfile::tempdir().unwrap();
    let mut unpacking = Unpacking::start(target.path(), Kind::Layer, Limits::default()).unwrap();
    let pid = unpacking.child.id();
    // It has taken the first bytes once it has given everything away: more than a pipe holds.
    let stream = Tar::new().file("big", &vec![7; 4 << 20]).done();
    unpacking.write_all(&stream[..2 << 20]).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let kept = "000000008800001b";
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(field(set), kept, "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Uid:"), "65534 65534 65534 65534");
    let root = fs::read_link(format!("/proc/{pid}/root")).unwrap();
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    assert_eq!(
        (root.to_str(), mounts.lines().count()),
        (Some("/"), 1),
        "{mounts}"
    );
    unpacking.write_all(&stream[2 << 20..]).unwrap();
    unpacking.finish().unwrap();
}
