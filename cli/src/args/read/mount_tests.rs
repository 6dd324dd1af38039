//! Docker's syntax, and refusals that show it.

use super::*;

fn volume(name: Option<&str>) -> VolumeUse {
    VolumeUse {
        name: name.map(str::to_owned),
        ..VolumeUse::default()
    }
}

fn bind(path: &str, propagation: Propagation, recursive: bool) -> MountSource {
    MountSource::Bind {
        path: path.to_owned(),
        propagation,
        recursive,
    }
}

fn check(read: Result<Mount, String>, source: MountSource, target: &str, read_only: bool) {
    let expected = Mount {
        source,
        target: target.to_owned(),
        read_only,
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn mounts_of_each_type_are_read() {
    let rprivate = Propagation::Rprivate;
    check(
        mount("type=bind,source=/a,target=/b"),
        bind("/a", rprivate, true),
        "/b",
        false,
    );
    check(
        mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave,bind-recursive=disabled"),
        bind("/a", Propagation::Rslave, false),
        "/b",
        true,
    );
    check(
        mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700"),
        MountSource::Tmpfs {
            size: Some(1 << 20),
            mode: 0o700,
        },
        "/t",
        false,
    );
    check(
        mount("target=/v,readonly=true"),
        MountSource::Volume(volume(None)),
        "/v",
        true,
    );
    let full = VolumeUse {
        no_copy: true,
        sticky: true,
        subpath: Some("a/b".to_owned()),
        driver: Some("local".to_owned()),
        options: [
            ("type".to_owned(), "nfs".to_owned()),
            ("o".to_owned(), "addr=10.0.0.1,rw".to_owned()),
        ]
        .into(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..volume(Some("rows"))
    };
    let text = "type=volume,source=rows,target=/v,volume-nocopy,sticky,volume-subpath=a/b,volume-driver=local,\
                volume-opt=type=nfs,\"volume-opt=o=addr=10.0.0.1,rw\",volume-label=team=a";
    check(mount(text), MountSource::Volume(full), "/v", false);
}

#[test]
fn refusals_say_what_is_accepted() {
    let refused = |text: &str, words: &str| {
        let error = mount(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    };
    refused(
        "type=bind,source=/a,target=/b,size=1",
        "expected one of type",
    );
    refused("type=npipe,target=/b", "volume, bind or tmpfs");
    refused("type=bind,target=/b", "source=PATH");
    refused("type=bind,source=/a", "target=PATH");
    refused("type=tmpfs,source=x,target=/b", "no source");
    refused(
        "type=tmpfs,target=/b,bind-propagation=shared",
        "type=bind only",
    );
    refused("type=bind,source=/a,target=/b,sticky", "type=volume only");
    refused("type=bind,source=/a,target=/b,bind-propagation=x", "rslave");
    refused(
        "type=bind,source=/a,target=/b,readonly=maybe",
        "true or false",
    );
    refused("type=tmpfs,target=/b,tmpfs-mode=9", "octal");
    refused("target=", "needs a value");
    refused("\"target=/b", "quote");
}

#[test]
fn the_short_form_is_dockers() {
    check(short("/v"), MountSource::Volume(volume(None)), "/v", false);
    check(
        short("rows:/v:ro"),
        MountSource::Volume(volume(Some("rows"))),
        "/v",
        true,
    );
    check(
        short("/a:/b:ro,rslave"),
        bind("/a", Propagation::Rslave, true),
        "/b",
        true,
    );
    for wrong in [
        "",
        "a:",
        ":/b",
        "a:b:c:d",
        "a:/b:z",
        "rows:/v:rslave",
        "/a:/b:nocopy",
    ] {
        assert!(short(wrong).is_err(), "{wrong}");
    }
}
