//! Volumes on a real disk; those that mount need root.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use super::*;

const TASK: TaskId = TaskId::new(7);
const LATER: TaskId = TaskId::new(8);

struct Rig {
    directory: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

impl Rig {
    /// With an image of two layers that has files at /srv.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let layers = ["upper", "lower"].map(|name| directory.path().join(name));
        for layer in &layers {
            fs::create_dir_all(layer.join("srv/deep")).unwrap();
        }
        Self {
            directory,
            layers: layers.into(),
        }
    }

    fn lower(&self) -> PathBuf {
        self.layers[1].join("srv")
    }

    fn volumes(&self) -> Volumes {
        Volumes::open(&self.directory.path().join("volumes")).unwrap()
    }

    fn acquire(&self, task: TaskId, wanted: &VolumeUse) -> Result<Given, VolumeError> {
        self.volumes().acquire(&Asked {
            task,
            task_name: "web.1",
            wanted,
            target: "/srv",
            layers: &self.layers,
        })
    }
}

fn named(name: &str) -> VolumeUse {
    VolumeUse {
        name: Some(name.to_owned()),
        ..VolumeUse::default()
    }
}

fn options(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = list
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    pairs.collect()
}

#[test]
fn a_new_volume_takes_what_the_image_has_with_all_its_attributes() {
    let rig = Rig::new();
    let lower = rig.lower();
    fs::write(lower.join("rows"), "1 2 3").unwrap();
    std::os::unix::fs::chown(lower.join("rows"), Some(33), Some(34)).unwrap();
    fs::set_permissions(lower.join("rows"), fs::Permissions::from_mode(0o4640)).unwrap();
    rustix::fs::setxattr(
        lower.join("rows"),
        "trusted.mark",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    fs::hard_link(lower.join("rows"), lower.join("deep/again")).unwrap();
    symlink("rows", lower.join("link")).unwrap();
    fs::set_permissions(&lower, fs::Permissions::from_mode(0o1770)).unwrap();
    fs::set_permissions(
        rig.layers[0].join("srv"),
        fs::Permissions::from_mode(0o1770),
    )
    .unwrap();
    fs::write(rig.layers[0].join("srv/top"), "upper").unwrap();
    nix::sys::stat::mknod(
        &lower.join("pipe"),
        nix::sys::stat::SFlag::S_IFIFO,
        nix::sys::stat::Mode::from_bits_truncate(0o600),
        0,
    )
    .unwrap();
    let given = rig.acquire(TASK, &named("data1")).unwrap();
    assert_eq!(given.made, Made::Filled);
    let rows = fs::metadata(given.path.join("rows")).unwrap();
    assert_eq!(
        (rows.uid(), rows.gid(), rows.mode() & 0o7777),
        (33, 34, 0o4640)
    );
    assert_eq!(
        rows.mtime(),
        fs::metadata(lower.join("rows")).unwrap().mtime()
    );
    let mut mark = [0; 8];
    let length = rustix::fs::getxattr(given.path.join("rows"), "trusted.mark", &mut mark).unwrap();
    assert_eq!(&mark[..length], b"kept");
    let again = fs::metadata(given.path.join("deep/again")).unwrap();
    assert_eq!(again.ino(), rows.ino());
    assert_eq!(
        fs::read_link(given.path.join("link")).unwrap(),
        Path::new("rows")
    );
    assert_eq!(fs::read_to_string(given.path.join("top")).unwrap(), "upper");
    let pipe = fs::metadata(given.path.join("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    assert_eq!(fs::metadata(&given.path).unwrap().mode() & 0o7777, 0o1770);
}

#[test]
fn what_is_in_a_volume_stays_when_another_task_comes() {
    let rig = Rig::new();
    fs::write(rig.lower().join("rows"), "of the image").unwrap();
    let given = rig.acquire(TASK, &named("data1")).unwrap();
    fs::write(given.path.join("rows"), "of the user").unwrap();
    rig.volumes().release(TASK).unwrap();
    let again = rig.acquire(LATER, &named("data1")).unwrap();
    assert_eq!(again.made, Made::Before);
    assert_eq!(
        fs::read_to_string(again.path.join("rows")).unwrap(),
        "of the user"
    );
}

#[test]
fn a_volume_is_left_empty_where_that_is_asked() {
    let rig = Rig::new();
    fs::write(rig.lower().join("rows"), "x").unwrap();
    let wanted = VolumeUse {
        no_copy: true,
        ..named("data1")
    };
    let given = rig.acquire(TASK, &wanted).unwrap();
    assert_eq!(given.made, Made::Empty);
    assert!(fill::is_empty(&given.path).unwrap());
}

#[test]
fn one_that_was_being_filled_when_the_daemon_ended_is_filled_again() {
    let rig = Rig::new();
    fs::write(rig.lower().join("rows"), "whole").unwrap();
    let given = rig.acquire(TASK, &named("data1")).unwrap();
    fs::write(given.path.join("rows"), "ha").unwrap();
    let place = rig.volumes().place("data1");
    let mut record = place.read().unwrap();
    record.filling = true;
    place.write(&record).unwrap();
    rig.acquire(TASK, &named("data1")).unwrap();
    assert_eq!(
        fs::read_to_string(given.path.join("rows")).unwrap(),
        "whole"
    );
    assert!(!place.read().unwrap().filling);
}

#[test]
fn a_volume_in_use_cannot_be_removed_and_says_by_whom() {
    let rig = Rig::new();
    rig.acquire(TASK, &named("data1")).unwrap();
    let refused = rig.volumes().remove("data1").unwrap_err().to_string();
    assert!(
        refused.contains("data1") && refused.contains("web.1"),
        "{refused}"
    );
    assert_eq!(rig.volumes().users().unwrap(), [TASK].into());
    rig.volumes().release(TASK).unwrap();
    rig.volumes().remove("data1").unwrap();
    let gone = rig.volumes().inspect("data1").unwrap_err();
    assert!(matches!(gone, VolumeError::Unknown(_)), "{gone}");
}

#[test]
fn one_without_a_name_goes_with_its_task_and_no_other() {
    let rig = Rig::new();
    let given = rig.acquire(TASK, &VolumeUse::default()).unwrap();
    let same = rig.acquire(TASK, &VolumeUse::default()).unwrap();
    let others = rig.acquire(LATER, &VolumeUse::default()).unwrap();
    assert_eq!(given.path, same.path);
    assert_ne!(given.path, others.path);
    assert!(rig.volumes().inspect(&given.name).unwrap().anonymous);
    assert_eq!(rig.volumes().names().unwrap(), Vec::<String>::new());
    rig.volumes().release(TASK).unwrap();
    assert!(!given.path.exists() && others.path.exists());
}

#[test]
fn what_was_half_made_or_half_removed_is_swept() {
    let rig = Rig::new();
    rig.acquire(TASK, &named("data1")).unwrap();
    let root = rig.directory.path().join("volumes");
    for left in [".new-x1", ".gone-x2", ".view-x3"] {
        fs::create_dir(root.join(left)).unwrap();
    }
    let names = rig.volumes().list().unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}

#[test]
fn options_name_what_is_mounted_while_it_is_used() {
    let rig = Rig::new();
    let memory = options(&[
        ("type", "tmpfs"),
        ("device", "tmpfs"),
        ("o", "size=1m,noexec"),
    ]);
    rig.volumes()
        .create(Some("memory"), &memory, &BTreeMap::new())
        .unwrap();
    let given = rig.acquire(TASK, &named("memory")).unwrap();
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = |table: String| {
        let wanted = given.path.to_str().unwrap().to_owned();
        table
            .lines()
            .find(|line| line.contains(&wanted))
            .map(str::to_owned)
    };
    let mounted = line(table()).unwrap();
    assert!(
        mounted.contains("size=1024k") && mounted.contains("noexec"),
        "{mounted}"
    );
    rig.acquire(LATER, &named("memory")).unwrap();
    rig.volumes().release(TASK).unwrap();
    assert!(line(table()).is_some());
    rig.volumes().release(LATER).unwrap();
    assert_eq!(line(table()), None);
    let different = VolumeUse {
        options: options(&[("type", "tmpfs"), ("device", "tmpfs")]),
        ..named("memory")
    };
    let refused = rig.acquire(TASK, &different).unwrap_err().to_string();
    assert!(refused.contains("other options"), "{refused}");
}

#[test]
fn a_directory_of_the_node_can_stand_behind_a_volume() {
    let rig = Rig::new();
    let behind = rig.directory.path().join("behind");
    fs::create_dir(&behind).unwrap();
    fs::write(behind.join("rows"), "there").unwrap();
    let device = behind.to_str().unwrap();
    let wanted = VolumeUse {
        options: options(&[("type", "none"), ("device", device), ("o", "bind,ro")]),
        ..named("behind")
    };
    let given = rig.acquire(TASK, &wanted).unwrap();
    assert_eq!(
        fs::read_to_string(given.path.join("rows")).unwrap(),
        "there"
    );
    assert!(fs::write(given.path.join("more"), "x").is_err());
    rig.volumes().release(TASK).unwrap();
    rig.volumes().remove("behind").unwrap();
    assert!(behind.join("rows").exists());
}

#[test]
fn what_cannot_be_mounted_says_what_was_tried() {
    let rig = Rig::new();
    let wanted = VolumeUse {
        options: options(&[("type", "none"), ("device", "/no/such"), ("o", "bind")]),
        ..named("broken")
    };
    let error = rig.acquire(TASK, &wanted).unwrap_err().to_string();
    for word in ["broken", "/no/such", "bind", "No such file"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_part_of_a_volume_must_be_there_and_in_it() {
    let rig = Rig::new();
    let given = rig.acquire(TASK, &named("data1")).unwrap();
    fs::create_dir(given.path.join("part")).unwrap();
    symlink("/etc", given.path.join("out")).unwrap();
    let part = |subpath: &str| VolumeUse {
        subpath: Some(subpath.to_owned()),
        ..named("data1")
    };
    rig.acquire(TASK, &part("part")).unwrap();
    for missing in ["none", "out"] {
        let error = rig.acquire(TASK, &part(missing)).unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
    }
}

#[test]
fn made_by_hand_it_has_its_labels_and_a_bad_name_is_refused() {
    let rig = Rig::new();
    let labels = options(&[("team", "a")]);
    let made = rig
        .volumes()
        .create(Some("data1"), &BTreeMap::new(), &labels)
        .unwrap();
    assert_eq!((made.labels, made.anonymous), (labels, false));
    let again = rig
        .volumes()
        .create(Some("data1"), &BTreeMap::new(), &BTreeMap::new());
    assert_eq!(again.unwrap().labels["team"], "a");
    let unnamed = rig
        .volumes()
        .create(None, &BTreeMap::new(), &BTreeMap::new())
        .unwrap();
    assert!(unnamed.anonymous && unnamed.name.len() == 64);
    for bad in ["../x", ".x", "a/b", ""] {
        assert!(
            rig.volumes()
                .create(Some(bad), &BTreeMap::new(), &BTreeMap::new())
                .is_err()
        );
        assert!(rig.volumes().remove(bad).is_err());
    }
    let wrong = options(&[("size", "1g")]);
    assert!(
        rig.volumes()
            .create(Some("data2"), &wrong, &BTreeMap::new())
            .is_err()
    );
}
