//! What the store keeps, and what it sweeps away.

use std::fs;

use skep_proto::ids::TaskId;

use super::samples::{Place, Sample, Tar};
use super::*;

fn two_layers() -> Sample {
    Sample::new(&[
        Tar::new()
            .file("low", b"1")
            .file("both", b"low")
            .file("dir/gone", b"")
            .done(),
        Tar::new()
            .file("both", b"high")
            .file("dir/.wh..wh..opq", b"")
            .done(),
    ])
}

fn load(place: &Place, sample: &Sample) -> Loaded {
    let archive = sample.oci_archive(|blob| Some(blob.to_vec()));
    place.store.load(&mut archive.as_slice()).unwrap().remove(0)
}

#[test]
fn an_image_is_there_again_after_a_restart() {
    let place = Place::new();
    let loaded = load(&place, &two_layers());
    let place = place.reopen();
    let held = place.store.image(&loaded.digest).unwrap();
    assert_eq!((held.layers.len(), held.size), (2, loaded.size));
    assert_eq!(
        (&*held.config.user, &held.config.cmd),
        ("7", &vec!["/bin/app".to_owned()])
    );
}

#[test]
fn an_image_that_lost_a_part_is_not_held() {
    for part in ["layers", "blobs/sha256"] {
        let place = Place::new();
        let loaded = load(&place, &two_layers());
        let held = place.store.image(&loaded.digest).unwrap();
        let (blob, _) = held.parts[0];
        match part {
            "layers" => fs::remove_dir_all(&held.layers[1]).unwrap(),
            _ => fs::remove_file(place.store.blob_path(&blob)).unwrap(),
        }
        let place = place.reopen();
        assert!(place.store.image(&loaded.digest).is_none(), "{part}");
        load(&place, &two_layers());
        assert!(place.store.image(&loaded.digest).is_some(), "{part}");
    }
}

#[test]
fn what_a_crash_left_is_swept() {
    let place = Place::new();
    fs::create_dir_all(place.path("tmp/half/layer")).unwrap();
    fs::write(place.path("tmp/blob"), b"half").unwrap();
    fs::write(place.path("images/torn"), b"{").unwrap();
    let place = place.reopen();
    assert!(place.list("tmp").is_empty());
    assert!(place.store.images().is_empty());
}

#[test]
fn a_second_daemon_is_refused() {
    let place = Place::new();
    let refused = Store::open(place.directory.path()).unwrap_err().to_string();
    assert!(refused.contains("--data-root"), "{refused}");
}

#[test]
fn layers_lie_over_each_other() {
    let place = Place::new();
    let loaded = load(&place, &two_layers());
    let task = TaskId::new(7);
    let rootfs = place.store.prepare_rootfs(task, &loaded.digest).unwrap();
    let lower: Vec<_> = rootfs
        .lower
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        rootfs.upper.display(),
        rootfs.work.display()
    );
    let at = rootfs.at.clone();
    // In a mount namespace of its own: the thread ends with it.
    std::thread::spawn(move || {
        use nix::mount::{MsFlags, mount};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let (kind, flags) = (Some("overlay"), MsFlags::empty());
        mount(Some("overlay"), &at, kind, flags, Some(options.as_str())).unwrap();
        assert_eq!(fs::read(at.join("both")).unwrap(), b"high");
        assert_eq!(fs::read(at.join("low")).unwrap(), b"1");
        assert!(!at.join("dir/gone").exists());
        fs::write(at.join("low"), b"mine").unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(fs::read(rootfs.upper.join("low")).unwrap(), b"mine");
    assert_eq!(fs::read(rootfs.lower[1].join("low")).unwrap(), b"1");
}

#[test]
fn an_image_is_in_use_until_its_last_task_is_released() {
    let place = Place::new();
    let image = load(&place, &two_layers()).digest;
    let (one, two) = (TaskId::new(1), TaskId::new(2));
    place.store.prepare_rootfs(one, &image).unwrap();
    place.store.prepare_rootfs(two, &image).unwrap();
    place.store.release(one).unwrap();
    let place = place.reopen();
    assert!(place.store.in_use(&image));
    assert_eq!(place.store.rootfs_tasks().unwrap(), [two]);
    place.store.release(two).unwrap();
    place.store.release(two).unwrap();
    assert!(!place.store.in_use(&image));
    assert!(place.list("rootfs").is_empty());
}

#[test]
fn an_absent_image_has_no_rootfs() {
    let place = Place::new();
    let digest = two_layers().digest();
    let refused = place
        .store
        .prepare_rootfs(TaskId::new(1), &digest)
        .unwrap_err();
    assert!(
        refused.to_string().contains("not on this node"),
        "{refused}"
    );
}

#[test]
fn the_built_in_image_has_the_same_digest_everywhere() {
    let (one, two) = (Place::new(), Place::new());
    let first = one.store.make_built_in(b"program").unwrap();
    assert_eq!(one.store.make_built_in(b"program").unwrap(), first);
    assert_eq!(two.store.make_built_in(b"program").unwrap(), first);
    assert_ne!(
        two.store.make_built_in(b"other").unwrap().digest,
        first.digest
    );
    let held = one.store.image(&first.digest).unwrap();
    assert_eq!(held.config.entrypoint, ["/hello"]);
    assert_eq!(fs::read(held.layers[0].join("hello")).unwrap(), b"program");
}
