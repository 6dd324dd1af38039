//! What layers become, owners and devices for real.
#![expect(unsafe_code, reason = "the test binary is its own unpacking child")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tar::EntryType;

use super::super::samples::{Tar, gzip, zstd};
use super::*;

/// Runs before main, as the daemon's main does it first.
extern "C" fn child() {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == HIDDEN_WORD) {
        let code = i32::from(!answered(&arguments[2..]));
        // SAFETY: ends this process, which has no threads and nothing open yet.
        unsafe { libc::_exit(code) }
    }
}

#[used]
// SAFETY: the section holds functions that the C library calls before main.
#[unsafe(link_section = ".init_array")]
static CHILD: extern "C" fn() = child;

pub(super) fn unpack_with(
    target: &Path,
    kind: Kind,
    limits: Limits,
    stream: &[u8],
) -> Result<Unpacked, UnpackError> {
    let mut unpacking = Unpacking::start(target, kind, limits)?;
    unpacking.write_all(stream).unwrap();
    unpacking.finish()
}

pub(super) fn unpack(target: &Path, stream: &[u8]) -> Result<Unpacked, UnpackError> {
    unpack_with(target, Kind::Layer, Limits::default(), stream)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

#[test]
fn plain_gzip_and_zstd_give_the_same_layer() {
    let plain = Tar::new()
        .directory("etc/")
        .file("etc/name", b"skep")
        .done();
    for stream in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let target = tempfile::tempdir().unwrap();
        let unpacked = unpack(target.path(), &stream).unwrap();
        assert_eq!(unpacked.diff_id, sha256(&plain));
        assert_eq!(unpacked.entries, 2);
        assert_eq!(fs::read(target.path().join("etc/name")).unwrap(), b"skep");
    }
}

#[test]
fn an_owner_that_was_left_blank_is_root() {
    let blank = |header: &mut tar::Header| {
        header.as_old_mut().uid = [0; 8];
        header.as_old_mut().gid = [b' '; 8];
    };
    let stream = Tar::new()
        .raw(EntryType::Regular, "name", "", blank, b"x")
        .done();
    let target = tempfile::tempdir().unwrap();
    unpack(target.path(), &stream).unwrap();
    let about = fs::metadata(target.path().join("name")).unwrap();
    assert_eq!((about.uid(), about.gid()), (0, 0));
}

#[test]
fn owners_modes_and_times_are_kept() {
    let stream = Tar::new()
        .raw(
            EntryType::Directory,
            "srv/",
            "",
            |header| {
                header.set_mode(0o1770);
                header.set_uid(5);
                header.set_mtime(86_400);
            },
            b"",
        )
        .raw(
            EntryType::Regular,
            "srv/tool",
            "",
            |header| {
                header.set_mode(0o6755);
                header.set_uid(1000);
                header.set_gid(2000);
                header.set_mtime(1234);
            },
            b"x",
        )
        .raw(
            EntryType::Symlink,
            "srv/to",
            "tool",
            |header| header.set_uid(9),
            b"",
        )
        .file("made/by/name", b"")
        .done();
    let target = tempfile::tempdir().unwrap();
    unpack(target.path(), &stream).unwrap();
    let look = |path: &str| fs::symlink_metadata(target.path().join(path)).unwrap();
    let tool = look("srv/tool");
    assert_eq!(
        (tool.uid(), tool.gid(), tool.mode() & 0o7777),
        (1000, 2000, 0o6755)
    );
    assert_eq!(tool.mtime(), 1234);
    let directory = look("srv");
    assert_eq!((directory.uid(), directory.mode() & 0o7777), (5, 0o1770));
    assert_eq!(directory.mtime(), 86_400);
    assert_eq!(look("srv/to").uid(), 9);
    let parent = look("made/by");
    assert_eq!(
        (parent.uid(), parent.gid(), parent.mode() & 0o7777),
        (0, 0, 0o755)
    );
}

#[test]
fn devices_pipes_and_hard_links_are_made() {
    let device = |header: &mut tar::Header| {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_mode(0o666);
    };
    let stream = Tar::new()
        .raw(EntryType::Char, "dev/null", "", device, b"")
        .raw(EntryType::Block, "dev/disk", "", device, b"")
        .link(EntryType::Fifo, "run/pipe", "")
        .file("a", b"shared")
        .link(EntryType::Link, "b", "a")
        .link(EntryType::Link, "./b", "/b")
        .done();
    let target = tempfile::tempdir().unwrap();
    unpack(target.path(), &stream).unwrap();
    let look = |path: &str| fs::symlink_metadata(target.path().join(path)).unwrap();
    let null = look("dev/null");
    assert!(null.file_type().is_char_device());
    assert_eq!(
        (null.rdev(), null.mode() & 0o7777),
        (rustix::fs::makedev(1, 3), 0o666)
    );
    assert!(look("dev/disk").file_type().is_block_device());
    assert!(look("run/pipe").file_type().is_fifo());
    assert_eq!((look("a").ino(), look("a").nlink()), (look("b").ino(), 2));
}

#[test]
fn extended_attributes_of_any_bytes_are_kept_and_those_of_the_machine_are_not() {
    // cap_net_bind_service, version 2, with a newline byte in it.
    let capability = [1, 0, 0, 2, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let stream = Tar::new()
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"one\ntwo"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("mtime", b"7.5"),
        ])
        .file("tool", b"")
        .done();
    let target = tempfile::tempdir().unwrap();
    unpack(target.path(), &stream).unwrap();
    let tool = target.path().join("tool");
    let attribute = |name: &str| {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(&tool, name, &mut value[..])?;
        Ok::<_, rustix::io::Errno>(value[..length].to_vec())
    };
    assert_eq!(attribute("security.capability").unwrap(), capability);
    assert_eq!(attribute("user.note").unwrap(), b"one\ntwo");
    assert!(attribute("trusted.overlay.opaque").is_err());
    let metadata = fs::metadata(&tool).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (7, 500_000_000));
}

#[test]
fn whiteouts_become_what_overlayfs_knows() {
    let stream = Tar::new()
        .file("etc/.wh.gone", b"")
        .directory("opaque/")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/kept", b"")
        .file("own", b"stays")
        .file(".wh.own", b"")
        .directory("dir/")
        .file(".wh.dir", b"")
        .file(".wh.later", b"")
        .file("later/inside", b"")
        .file(".wh..wh.plnk", b"")
        .done();
    let target = tempfile::tempdir().unwrap();
    let unpacked = unpack(target.path(), &stream).unwrap();
    let gone = fs::symlink_metadata(target.path().join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device());
    assert_eq!(gone.rdev(), 0);
    assert_eq!(fs::read(target.path().join("own")).unwrap(), b"stays");
    let opaque: Vec<_> = unpacked
        .opaque
        .iter()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect();
    assert_eq!(opaque, ["dir", "later", "opaque"]);
    assert_eq!(unpacked.implied, [b"etc".to_vec()]);
    assert!(!target.path().join(".wh..wh.plnk").exists());
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let stream = Tar::new()
        .file("a", b"old, long")
        .file("a", b"new")
        .file("tree/deep/file", b"")
        .file("tree", b"file now")
        .link(EntryType::Symlink, "link", "elsewhere")
        .directory("link/")
        .file("link/in", b"")
        .done();
    let target = tempfile::tempdir().unwrap();
    unpack(target.path(), &stream).unwrap();
    assert_eq!(fs::read(target.path().join("a")).unwrap(), b"new");
    assert_eq!(fs::read(target.path().join("tree")).unwrap(), b"file now");
    assert!(target.path().join("link/in").is_file());
    assert!(!target.path().join("elsewhere").exists());
}

#[test]
fn sparse_files_keep_their_holes() {
    let (mut body, tail) = (b"2\n0\n3\n1048576\n4\n".to_vec(), b"abctail");
    body.resize(512, 0);
    body.extend_from_slice(tail);
    let stream = Tar::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.realsize", b"2097152"),
        ])
        .file("GNUSparseFile.0/sparse", &body)
        .pax(&[("GNU.sparse.map", b"4096,3"), ("GNU.sparse.size", b"8192")])
        .file("older", b"xyz")
        .done();
    let target = tempfile::tempdir().unwrap();
    unpack(target.path(), &stream).unwrap();
    let content = fs::read(target.path().join("sparse")).unwrap();
    assert_eq!(content.len(), 2 << 20);
    assert_eq!(
        (&content[..4], &content[1 << 20..][..5]),
        (&b"abc\0"[..], &b"tail\0"[..])
    );
    let blocks = fs::metadata(target.path().join("sparse")).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    let older = fs::read(target.path().join("older")).unwrap();
    assert_eq!((older.len(), &older[4096..4100]), (8192, &b"xyz\0"[..]));
}

#[test]
fn an_archive_keeps_files_and_links_alone() {
    let stream = Tar::new()
        .raw(
            EntryType::Regular,
            "owned",
            "",
            |header| header.set_uid(77),
            b"1",
        )
        .link(EntryType::Char, "device", "")
        .file(".wh.name", b"kept")
        .done();
    let target = tempfile::tempdir().unwrap();
    unpack_with(target.path(), Kind::Archive, Limits::default(), &stream).unwrap();
    assert_eq!(fs::metadata(target.path().join("owned")).unwrap().uid(), 0);
    assert!(!target.path().join("device").exists());
    assert!(target.path().join(".wh.name").is_file());
}
