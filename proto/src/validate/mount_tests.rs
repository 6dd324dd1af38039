//! Which mounts are refused, and why.

use super::*;
use crate::spec::Propagation;

fn volume(change: impl FnOnce(&mut VolumeUse)) -> Mount {
    let mut volume = VolumeUse {
        name: Some("rows".into()),
        ..VolumeUse::default()
    };
    change(&mut volume);
    Mount {
        source: MountSource::Volume(volume),
        target: "/srv".into(),
        read_only: false,
    }
}

fn bind(path: &str, target: &str) -> Mount {
    Mount {
        source: MountSource::Bind {
            path: path.into(),
            propagation: Propagation::Rprivate,
            recursive: true,
        },
        target: target.into(),
        read_only: false,
    }
}

fn refused(mounts: &[Mount], words: &str) {
    let error = check(mounts).unwrap_err();
    assert_eq!(error.field, "--mount", "{error}");
    assert!(error.reason.contains(words), "{error}");
}

#[test]
fn targets_are_absolute_and_differ() {
    refused(&[bind("/a", "b")], "\"b\" is not an absolute path");
    refused(&[bind("/a", "/./")], "root");
    refused(&[bind("/a", "/b/../c")], "..");
    refused(&[bind("a", "/b")], "\"a\" is not an absolute path");
    refused(&[bind("/a", "/b"), bind("/c", "//b/")], "two mounts");
    assert_eq!(check(&[bind("/a", "/b"), bind("/a", "/b/c")]), Ok(()));
}

#[test]
fn volumes_have_names_and_options_that_are_known() {
    refused(&[volume(|one| one.name = Some("a/b".into()))], "type=bind");
    refused(&[volume(|one| one.name = Some("x".into()))], "2 to 255");
    refused(
        &[volume(|one| {
            one.name = None;
            one.sticky = true;
        })],
        "sticky",
    );
    refused(
        &[volume(|one| one.subpath = Some("../x".into()))],
        "stay in it",
    );
    refused(&[volume(|one| one.subpath = Some("/x".into()))], "relative");
    refused(&[volume(|one| one.driver = Some("ceph".into()))], "local");
    let options = |keys: &[&str]| {
        let pairs = keys.iter().map(|key| ((*key).to_owned(), "x".to_owned()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    refused(
        &[volume(|one| one.options = options(&["size"]))],
        "type, device, o",
    );
    refused(
        &[volume(|one| one.options = options(&["type"]))],
        "device is missing",
    );
    refused(&[volume(|one| one.options = options(&["o"]))], "needs type");
    let good = volume(|one| {
        one.sticky = true;
        one.subpath = Some("a/b".into());
        one.options = options(&["type", "device", "o"]);
    });
    assert_eq!(check(&[good]), Ok(()));
}
