//! What is understood, and what the refusal says.

use super::*;

#[test]
fn commands_are_split_as_a_shell_does() {
    let check = |text: &str, expected: &[&str]| assert_eq!(command(text).unwrap().0, expected);
    check("", &[]);
    check("  a  b\tc ", &["a", "b", "c"]);
    check(
        r#"sh -c 'echo "a b"' "" x\ y "q\"r""#,
        &["sh", "-c", "echo \"a b\"", "", "x y", "q\"r"],
    );
    assert!(command("a 'b").is_err());
    assert!(command("a \\").is_err());
}

#[test]
fn hosts_have_addresses_of_both_versions() {
    let check = |text: &str, address: &str| {
        assert_eq!(host(text), Ok(("db".to_owned(), address.parse().unwrap())));
    };
    check("db:10.0.0.9", "10.0.0.9");
    check("db=10.0.0.9", "10.0.0.9");
    check("db:fd00::1", "fd00::1");
    check("db:[fd00::1]", "fd00::1");
    for wrong in ["db", ":10.0.0.9", "db:ten"] {
        assert!(host(wrong).unwrap_err().contains("NAME:ADDRESS"), "{wrong}");
    }
}

#[test]
fn limits_are_soft_and_hard() {
    let check = |text: &str, soft: i64, hard: i64| {
        let limit = ulimit(text).unwrap();
        assert_eq!(
            (limit.name.as_str(), limit.soft, limit.hard),
            ("nofile", soft, hard)
        );
    };
    check("nofile=9", 9, 9);
    check("nofile=9:-1", 9, -1);
    assert!(ulimit("nofile").is_err());
    assert!(
        ulimit("nofile=many")
            .unwrap_err()
            .contains("nofile=1024:2048")
    );
}

#[test]
fn devices_are_paths_and_letters() {
    let check = |text: &str, target: &str, access: &str| {
        let device = device(text).unwrap();
        assert_eq!(
            (device.target.as_str(), device.permissions.as_str()),
            (target, access)
        );
    };
    check("/dev/fuse", "/dev/fuse", "rwm");
    check("/dev/fuse:r", "/dev/fuse", "r");
    check("/dev/fuse:/dev/x", "/dev/x", "rwm");
    check("/dev/fuse:/dev/x:rw", "/dev/x", "rw");
    for wrong in ["fuse", "/dev/fuse:x", "/dev/fuse:/dev/x:a", "/a:/b:r:w"] {
        assert!(device(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn security_and_capabilities_have_known_words() {
    assert_eq!(capability("cap_net_admin").as_deref(), Ok("NET_ADMIN"));
    assert!(capability("NET").unwrap_err().contains("NET_ADMIN"));
    assert_eq!(
        security("no-new-privileges"),
        Ok(Security::NoNewPrivileges(true))
    );
    assert_eq!(
        security("no-new-privileges:false"),
        Ok(Security::NoNewPrivileges(false))
    );
    assert_eq!(
        security("seccomp=unconfined"),
        Ok(Security::SeccompUnconfined)
    );
    assert!(
        security("seccomp=/my.json")
            .unwrap_err()
            .contains("unconfined")
    );
    assert!(security("apparmor=x").is_err());
}

#[test]
fn an_environment_file_has_lines_and_comments() {
    let entries = env_file("\u{feff}A=1\n# no\n\n  B=\"two words\" \nC\nD=\n").unwrap();
    assert_eq!(entries, ["A=1", "B=\"two words\" ", "C", "D="]);
    assert!(
        env_file("A=1\nmy name=x\n")
            .unwrap_err()
            .starts_with("line 2")
    );
    assert!(env_file("=x").is_err());
}
