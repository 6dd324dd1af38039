//! What an option list turns into.

use super::*;

fn mount(kind: &str, source: &str, target: &str, options: &str) -> Mount {
    let mut mount = Mount::default();
    let options = options.split(',').map(str::to_owned).collect();
    mount
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_destination(target.into())
        .set_options(Some(options));
    mount
}

#[test]
fn options_are_told_apart_by_whom_they_are_for() {
    let words: Vec<_> = "nosuid,ro,mode=1777,size=64m,ro,exec,nonsense"
        .split(',')
        .map(str::to_owned)
        .collect();
    let parsed = parse(&words);
    assert_eq!(parsed.attributes, NOSUID | RDONLY);
    let own: Vec<_> = parsed
        .own
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_deref()))
        .collect();
    assert_eq!(
        own,
        [
            ("mode", Some("1777")),
            ("size", Some("64m")),
            ("nonsense", None)
        ]
    );
}

#[test]
fn bind_is_private_unless_asked_otherwise() {
    let check = |options: &str, expected: (bool, u64, u64)| {
        let steps = steps(&mount("bind", "/tmp", "/there", options), &[]).unwrap();
        let [
            Step::Bind {
                recursive,
                attributes,
                propagation,
                directory,
                ..
            },
        ] = &steps[..]
        else {
            panic!("{steps:?}")
        };
        assert!(directory);
        assert_eq!(
            (*recursive, *attributes, *propagation),
            expected,
            "{options}"
        );
    };
    check("bind", (false, 0, libc::MS_PRIVATE));
    check("rbind,ro", (true, RDONLY, libc::MS_PRIVATE));
    check("rbind,rslave", (true, 0, libc::MS_SLAVE));
}

#[test]
fn missing_source_is_named() {
    let error = steps(&mount("bind", "/no/such", "/there", "bind"), &[]).unwrap_err();
    assert!(error.to_string().contains("/no/such"), "{error}");
}

#[test]
fn relative_target_is_refused() {
    let error = steps(&mount("tmpfs", "tmpfs", "there", "ro"), &[]).unwrap_err();
    assert!(matches!(error, MountError::Target(_)));
}

#[test]
fn cgroups_are_shown_as_the_machine_has_them() {
    let wanted = mount("cgroup", "cgroup", "/sys/fs/cgroup", "ro,nosuid");
    assert!(matches!(
        &steps(&wanted, &[]).unwrap()[..],
        [Step::Mount { .. }]
    ));
    let legacy = [(
        "cpu,cpuacct".to_owned(),
        vec!["cpu".to_owned(), "cpuacct".to_owned()],
    )];
    let found = steps(&wanted, &legacy).unwrap();
    let [
        Step::Mount { attributes, .. },
        Step::Mount { options, .. },
        Step::Seal(_),
    ] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!(*attributes, NOSUID);
    assert_eq!(options.len(), 2);
}
