//! A corpus of hostile streams. Each is refused or confined, and a tree of sentinels beside the target stays what it is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::super::samples::{Tar, gzip, zstd};
use super::tests::{unpack, unpack_with};
use super::*;

/// What must not change: everything that a file system says of every path of a tree.
#[derive(PartialEq, Eq, Debug)]
struct Snapshot(BTreeMap<PathBuf, String>);

impl Snapshot {
    fn of(root: &Path) -> Self {
        let (mut found, mut left) = (BTreeMap::new(), vec![root.to_owned()]);
        while let Some(path) = left.pop() {
            let about = fs::symlink_metadata(&path).unwrap();
            let content = match about.file_type() {
                kind if kind.is_file() => fs::read(&path).unwrap(),
                kind if kind.is_symlink() => {
                    fs::read_link(&path).unwrap().as_os_str().as_bytes().into()
                }
                kind if kind.is_dir() => {
                    let entries = fs::read_dir(&path).unwrap();
                    left.extend(entries.map(|entry| entry.unwrap().path()));
                    Vec::new()
                }
                _ => Vec::new(),
            };
            let mut attributes = vec![0; 4096];
            let length = rustix::fs::llistxattr(&path, &mut attributes[..]).unwrap();
            let facts = (about.ino(), about.nlink(), about.mode(), about.uid());
            let more = (about.gid(), about.rdev(), about.mtime(), about.mtime_nsec());
            let text = format!("{facts:?} {more:?} {content:?} {:?}", &attributes[..length]);
            found.insert(path, text);
        }
        Self(found)
    }
}

/// A target beside a tree of sentinels.
struct Guarded {
    directory: tempfile::TempDir,
    before: Snapshot,
}

impl Guarded {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sentinels = directory.path().join("sentinels");
        fs::create_dir_all(sentinels.join("etc/deep")).unwrap();
        fs::write(sentinels.join("secret"), b"secret").unwrap();
        fs::write(sentinels.join("etc/passwd"), b"root:x:0:0").unwrap();
        symlink("secret", sentinels.join("link")).unwrap();
        fs::create_dir(directory.path().join("target")).unwrap();
        let before = Snapshot::of(&sentinels);
        Self { directory, before }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("target")
    }

    /// What came of the stream; sentinels are compared, and nothing is beside them and the target.
    fn try_it(&self, case: &str, stream: &[u8]) -> Result<Unpacked, UnpackError> {
        let result = unpack(&self.target(), stream);
        let now = Snapshot::of(&self.directory.path().join("sentinels"));
        assert_eq!(now, self.before, "{case}");
        let names = fs::read_dir(self.directory.path()).unwrap().count();
        assert_eq!(names, 2, "{case}: something was made beside the target");
        result
    }
}

/// One stream after the other, each with a target of its own; says which were taken.
fn taken(cases: Vec<(&str, Vec<u8>)>) -> Vec<String> {
    let tried = cases.iter().filter_map(|(case, stream)| {
        let result = Guarded::new().try_it(case, stream);
        result.is_ok().then(|| (*case).to_owned())
    });
    tried.collect()
}

fn reason(case: &str, stream: &[u8]) -> String {
    Guarded::new().try_it(case, stream).unwrap_err().to_string()
}

/// A name longer than a header's field, or with any bytes.
fn named(path: &[u8]) -> Vec<u8> {
    Tar::new().pax(&[("path", path)]).file("short", b"x").done()
}

#[test]
fn names_that_lead_out_are_refused_however_they_are_written() {
    let paths: [&[u8]; 9] = [
        b"..",
        b"../sentinels/secret",
        b"./../sentinels/secret",
        b"a/../../sentinels/secret",
        b"a/b/../../../sentinels/secret",
        b"/../sentinels/secret",
        b"//../../sentinels/secret",
        b"a/..",
        b"sentinels/../../sentinels/",
    ];
    for path in paths {
        let shown = String::from_utf8_lossy(path);
        let said = reason(&shown, &named(path));
        assert!(said.contains("leads out"), "{shown}: {said}");
    }
    // As a whiteout, an opaque directory, and the target of a hard link.
    let others = vec![
        ("whiteout", named(b"../sentinels/.wh.secret")),
        ("opaque", named(b"../sentinels/.wh..wh..opq")),
        (
            "hard link",
            Tar::new()
                .link(EntryType::Link, "got", "../sentinels/secret")
                .done(),
        ),
    ];
    assert_eq!(taken(others), [""; 0]);
}

#[test]
fn odd_names_are_kept_as_bytes_or_refused() {
    let guarded = Guarded::new();
    let bytes = b"caf\xe9/\xff\xfe";
    guarded.try_it("bytes", &named(bytes)).unwrap();
    let path = guarded.target().join(std::ffi::OsStr::from_bytes(bytes));
    assert_eq!(fs::read(path).unwrap(), b"x");
    let long = vec![b'n'; 300];
    let deep = b"d/".repeat(3000);
    let cases = vec![
        ("a zero byte", named(b"a\0b")),
        ("a name of 300 bytes", named(&long)),
        ("only a slash, as a file", named(b"/")),
        ("a path of 6000 bytes", named(&[&deep[..], b"f"].concat())),
    ];
    let taken = taken(cases);
    assert!(!taken.contains(&"a zero byte".to_owned()), "{taken:?}");
    assert!(
        !taken.contains(&"a name of 300 bytes".to_owned()),
        "{taken:?}"
    );
}

#[test]
fn absolute_names_land_inside() {
    let guarded = Guarded::new();
    let outside = guarded.directory.path().join("sentinels/secret");
    let stream = named(outside.as_os_str().as_bytes());
    guarded.try_it("absolute", &stream).unwrap();
    let inside = guarded.target().join(outside.strip_prefix("/").unwrap());
    assert_eq!(fs::read(inside).unwrap(), b"x");
}

fn wide(header: &mut tar::Header) {
    header.set_mode(0o7777);
    header.set_uid(77);
    header.set_mtime(7);
}

/// Streams that make a link named `out` to somewhere and then use it in every way there is.
fn through(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    [changes(target), makes(target)].concat()
}

fn changes(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    let start = || Tar::new().link(EntryType::Symlink, "out", target);
    let attribute: [(&str, &[u8]); 1] = [("SCHILY.xattr.user.note", b"changed")];
    vec![
        (
            "a file below",
            start().file("out/secret", b"changed").done(),
        ),
        ("a new file below", start().file("out/fresh", b"x").done()),
        ("a directory below", start().directory("out/etc/").done()),
        ("a deep one", start().file("out/etc/deep/x", b"x").done()),
        (
            "chmod of the link",
            start()
                .raw(EntryType::Directory, "out/", "", wide, b"")
                .done(),
        ),
        (
            "chmod below it",
            start()
                .raw(EntryType::Directory, "out/etc/", "", wide, b"")
                .done(),
        ),
        (
            "attributes of the link",
            start()
                .pax(&attribute)
                .link(EntryType::Symlink, "out", target)
                .done(),
        ),
        (
            "attributes of a file",
            start().pax(&attribute).file("out/secret", b"").done(),
        ),
    ]
}

fn makes(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    let start = || Tar::new().link(EntryType::Symlink, "out", target);
    vec![
        ("a whiteout", start().file("out/.wh.secret", b"").done()),
        (
            "an opaque mark",
            start().file("out/.wh..wh..opq", b"").done(),
        ),
        (
            "a hard link below",
            start().link(EntryType::Link, "got", "out/secret").done(),
        ),
        (
            "a hard link to the link, then a file",
            start()
                .link(EntryType::Link, "two", "out")
                .raw(EntryType::Regular, "two", "", wide, b"x")
                .done(),
        ),
        (
            "a link below the link",
            start()
                .link(EntryType::Symlink, "out/secret", "/etc/passwd")
                .done(),
        ),
        (
            "a pipe below",
            start().link(EntryType::Fifo, "out/secret", "").done(),
        ),
        (
            "one link after the other",
            start()
                .link(EntryType::Symlink, "on", "out/etc")
                .file("on/passwd", b"x")
                .done(),
        ),
    ]
}

#[test]
fn nothing_is_changed_through_links() {
    for target in [
        "..",
        "../sentinels",
        "/",
        "/../sentinels",
        "../../../../../../..",
        "/proc/self/root",
        "/proc/1/root",
        "/proc/self/cwd/../sentinels",
        "out",
        ".",
    ] {
        for (case, stream) in through(target) {
            // Inside or refused: both are right.
            let _ = Guarded::new().try_it(&format!("{case} through {target}"), &stream);
        }
    }
    // The real place, wherever the test runs.
    let guarded = Guarded::new();
    let real = guarded.directory.path().join("sentinels");
    for (case, stream) in through(real.to_str().unwrap()) {
        let _ = guarded.try_it(case, &stream);
    }
}

#[test]
fn sizes_that_disagree_do_not_smuggle_entries_out() {
    let inner = Tar::new().file("../sentinels/secret", b"changed").done();
    let sizes: [&[u8]; 9] = [
        b"0",
        b"1",
        b"512",
        b"100000",
        b"18446744073709551615",
        b"9223372036854775807",
        b"-1",
        b"1e3",
        b"99999999999999999999999",
    ];
    for size in sizes {
        let stream = Tar::new().pax(&[("size", size)]).file("a", &inner).done();
        let case = format!("PAX says {}", String::from_utf8_lossy(size));
        // The body is what PAX says; what follows is read as entries of its own.
        assert!(Guarded::new().try_it(&case, &stream).is_err(), "{case}");
    }
    // A header's own size: negative, and more than there can be.
    let field = |bytes: [u8; 12]| {
        move |header: &mut tar::Header| header.as_old_mut().size.copy_from_slice(&bytes)
    };
    let mut huge = [0xff; 12];
    huge[..4].copy_from_slice(&[0x80, 0, 0, 0]);
    let cases = vec![
        (
            "negative",
            Tar::new()
                .raw(EntryType::Regular, "a", "", field([0xff; 12]), &inner)
                .done(),
        ),
        (
            "huge",
            Tar::new()
                .raw(EntryType::Regular, "a", "", field(huge), &inner)
                .done(),
        ),
        (
            "letters",
            Tar::new()
                .raw(
                    EntryType::Regular,
                    "a",
                    "",
                    field(*b"abcdefghijk\0"),
                    &inner,
                )
                .done(),
        ),
    ];
    assert_eq!(taken(cases), [""; 0]);
    // With a directory, which has no body, the size counts nevertheless.
    let stream = Tar::new()
        .raw(EntryType::Directory, "d/", "", |_| (), &inner)
        .done();
    let guarded = Guarded::new();
    guarded.try_it("a directory with a body", &stream).unwrap();
    assert_eq!(fs::read_dir(guarded.target().join("d")).unwrap().count(), 0);
}

#[test]
fn malformed_extensions_are_refused() {
    let raw = |body: &[u8]| {
        let header = Tar::new().raw(EntryType::XHeader, "x", "", |_| (), body);
        header.file("a", b"").done()
    };
    let cases = vec![
        ("no length", raw(b"path=a\n")),
        ("a length beyond the end", raw(b"99 path=a\n")),
        ("a length of zero", raw(b"0 path=a\n")),
        ("no newline", raw(b"10 path=abc")),
        ("no value", raw(b"8 pathx\n")),
        ("a huge length", raw(b"18446744073709551615 path=a\n")),
        (
            "a user that is none",
            Tar::new()
                .pax(&[("uid", b"4294967295")])
                .file("a", b"")
                .done(),
        ),
        (
            "a sparse map beyond the end",
            Tar::new()
                .pax(&[("GNU.sparse.map", b"4096,3"), ("GNU.sparse.size", b"10")])
                .file("a", b"xyz")
                .done(),
        ),
        (
            "a sparse map that turns back",
            Tar::new()
                .pax(&[("GNU.sparse.map", b"5,3,1,3"), ("GNU.sparse.size", b"10")])
                .file("a", b"abcxyz")
                .done(),
        ),
        (
            "a sparse map that overflows",
            Tar::new()
                .pax(&[
                    ("GNU.sparse.map", b"18446744073709551615,3"),
                    ("GNU.sparse.size", b"18446744073709551615"),
                ])
                .file("a", b"xyz")
                .done(),
        ),
    ];
    assert_eq!(taken(cases), [""; 0]);
}

#[test]
fn nodes_are_replaced_and_never_opened() {
    // A pipe that was opened would block for ever, a device would be written.
    let null = |header: &mut tar::Header| {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    };
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block] {
        let guarded = Guarded::new();
        let stream = Tar::new()
            .raw(kind, "node", "", null, b"")
            .file("node", b"a file now")
            .done();
        guarded.try_it("nodes", &stream).unwrap();
        let node = fs::read(guarded.target().join("node")).unwrap();
        assert_eq!(node, b"a file now", "{kind:?}");
    }
}

#[test]
fn links_in_circles_end() {
    let stream = Tar::new()
        .link(EntryType::Symlink, "a", "b")
        .link(EntryType::Symlink, "b", "a")
        .file("a/x", b"x")
        .done();
    let _ = Guarded::new().try_it("a circle", &stream);
    let stream = Tar::new()
        .file("f", b"kept")
        .link(EntryType::Link, "f", "f")
        .link(EntryType::Link, "g", "g")
        .done();
    let guarded = Guarded::new();
    let _ = guarded.try_it("links to themselves", &stream);
    assert_eq!(fs::read(guarded.target().join("f")).unwrap(), b"kept");
}

#[test]
fn a_million_entries_are_counted_and_bombs_stopped() {
    let target = tempfile::tempdir().unwrap();
    // One header again and again: a million names, kilobytes to send.
    let block = &Tar::new().directory("d/").done()[..512];
    let stream = zstd(&block.repeat(1_000_000));
    assert!(stream.len() < 1 << 20, "{}", stream.len());
    let limits = Limits {
        entries: 50_000,
        bytes: 1 << 30,
    };
    let result = unpack_with(target.path(), Kind::Layer, limits, &stream);
    let said = result.unwrap_err().to_string();
    assert!(said.contains("more than 50000 entries"), "{said}");
    // A gigabyte of zeros in a megabyte; gzip in gzip is no archive.
    let limits = Limits {
        entries: 10,
        bytes: 1 << 24,
    };
    let bomb = Tar::new().file("zeros", &vec![0; 1 << 26]).done();
    for stream in [gzip(&bomb), zstd(&bomb)] {
        let result = unpack_with(target.path(), Kind::Layer, limits, &stream);
        let said = result.unwrap_err().to_string();
        assert!(said.contains("more than 16777216 bytes"), "{said}");
    }
    let twice = gzip(&gzip(&Tar::new().file("a", b"").done()));
    let said = unpack(target.path(), &twice).unwrap_err().to_string();
    assert!(said.contains("not a tar archive"), "{said}");
}
