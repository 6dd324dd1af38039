//! Logins in files and with helpers, as Docker writes them.

use std::os::unix::fs::PermissionsExt;

use super::file::Logins;
use super::*;

fn auth(username: &str, password: &str, identity_token: &str) -> RegistryAuth {
    RegistryAuth {
        username: username.to_owned(),
        password: password.to_owned(),
        identity_token: identity_token.to_owned(),
    }
}

#[test]
fn what_docker_wrote_is_read_and_what_else_it_wrote_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let text = r#"{"psFormat":"x","auths":{
        "https://index.docker.io/v1/":{"auth":"bWU6c2VzYW1l"},
        "https://reg.lan:5000/v2/":{"auth":"bWU6YTpi"},
        "token.lan":{"auth":"bWU6","identitytoken":"open"},
        "empty.lan":{}}}"#;
    std::fs::write(&path, text).unwrap();
    let mut logins = Logins::read(&path).unwrap();
    for (registry, expected) in [
        ("docker.io", Some(auth("me", "sesame", ""))),
        ("reg.lan:5000", Some(auth("me", "a:b", ""))),
        ("token.lan", Some(auth("me", "", "open"))),
        ("empty.lan", None),
        ("other.lan", None),
    ] {
        assert_eq!(logins.get(registry).unwrap(), expected, "{registry}");
    }
    logins.put("new.lan", &auth("you", "pass", "")).unwrap();
    assert!(logins.remove("reg.lan:5000").unwrap());
    assert!(!logins.remove("reg.lan:5000").unwrap());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = Logins::read(&path).unwrap();
    assert_eq!(again.get("new.lan").unwrap(), Some(auth("you", "pass", "")));
    assert_eq!(
        again.get("docker.io").unwrap(),
        Some(auth("me", "sesame", ""))
    );
    assert!(std::fs::read_to_string(&path).unwrap().contains("psFormat"));
}

#[test]
fn what_is_no_login_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, r#"{"auths":{"reg.lan":{"auth":"%%"}}}"#).unwrap();
    let error = Logins::read(&path).unwrap().get("reg.lan").unwrap_err();
    assert!(format!("{error:#}").contains("reg.lan"), "{error:#}");
    std::fs::write(&path, "nonsense").unwrap();
    assert!(Logins::read(&path).is_err());
    std::fs::write(&path, r#"{"credsStore":"none-such-as-this"}"#).unwrap();
    let error = Logins::read(&path).unwrap().get("reg.lan").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("docker-credential-none-such-as-this"),
        "{text}"
    );
}

#[test]
fn registries_are_the_same_however_they_are_typed() {
    for (typed, expected) in [
        (None, "docker.io"),
        (Some("index.docker.io"), "docker.io"),
        (Some("https://index.docker.io/v1/"), "docker.io"),
        (Some("https://reg.lan:5000/"), "reg.lan:5000"),
        (Some("reg.lan"), "reg.lan"),
    ] {
        assert_eq!(registry(typed), expected);
    }
}
