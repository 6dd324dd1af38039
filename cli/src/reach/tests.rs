//! What counts before what, what is an address, and what is kept of a context.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use skep_proto::ids::TokenId;

use super::*;

fn token() -> AccessToken {
    AccessToken {
        root_digest: [1; 32],
        id: TokenId::new(2),
        secret: [3; 32],
    }
}

fn kept(name: &str) -> Kept {
    Kept {
        name: name.into(),
        description: "the shop".into(),
        host: "tcp://m1,m2:2378".into(),
        token: token(),
    }
}

#[test]
fn addresses_have_a_port_each() {
    let read = |text: &str| addresses(text).ok();
    let list = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect());
    assert_eq!(
        read("tcp://m1,m2:99,tcp://m3"),
        list(&["m1:2377", "m2:99", "m3:2377"])
    );
    assert_eq!(read("tcp://10.0.0.1"), list(&["10.0.0.1:2377"]));
    assert_eq!(
        read("tcp://::1,[fd00::2]:99"),
        list(&["[::1]:2377", "[fd00::2]:99"])
    );
    for text in [
        "",
        "m1",
        "tcp://",
        "tcp://m1,",
        "tcp://m1:0",
        "tcp://m1:x",
        "tcp://a/b",
        "http://m1",
    ] {
        assert!(read(text).is_none(), "{text}");
    }
}

#[test]
fn what_is_typed_counts_before_the_environment_and_a_host_before_a_context() {
    let said = |context: Option<&str>, host: Option<&str>, usual: Option<&str>| Said {
        context: context.map(str::to_owned),
        host: host.map(str::to_owned),
        token: None,
        usual: usual.map(str::to_owned),
    };
    let of = |said: Said| said.context().unwrap();
    assert_eq!(of(said(Some("a"), Some("h"), Some("b"))), Some("a".into()));
    assert_eq!(of(said(None, Some("h"), Some("b"))), None);
    assert_eq!(of(said(None, None, Some("b"))), Some("b".into()));
}

#[test]
fn a_host_is_a_socket_or_needs_a_token() {
    let said = |host: &str, token: Option<String>| Said {
        host: Some(host.into()),
        token,
        ..Said::default()
    };
    let socket = said("unix:///run/x.sock", None).reach();
    assert!(matches!(socket, Ok(Reach::Socket(path)) if path.as_os_str() == "/run/x.sock"));
    let with = said("tcp://m1,m2", Some(token().to_string())).reach();
    assert!(matches!(with, Ok(Reach::Outside(_, read)) if read == token()));
    let without = said("tcp://m1", None).reach().unwrap_err().to_string();
    assert!(without.contains("SKEP_TOKEN"), "{without}");
    let wrong = said("tcp://m1", Some("sesame".into())).reach().unwrap_err();
    assert!(format!("{wrong:#}").contains("SKEP_TOKEN: this is not an access token"));
    let other = said("http://m1", None).reach().unwrap_err().to_string();
    assert!(other.contains("tcp://MANAGER"), "{other}");
}

#[test]
fn a_context_is_kept_for_its_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(&directory.path().join("skep"));
    assert_eq!(store.current().unwrap(), DEFAULT);
    store.create(&kept("prod")).unwrap();
    let path = directory.path().join("skep/contexts/prod/token");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let read = store.read("prod").unwrap();
    assert_eq!((read.token, &*read.host), (token(), "tcp://m1,m2:2378"));
    assert_eq!(store.names().unwrap(), ["prod"]);
    let json = fs::read_to_string(path.with_file_name("context.json")).unwrap();
    assert!(!json.contains("SKEPT"), "{json}");

    let twice = store.create(&kept("prod")).unwrap_err().to_string();
    assert!(twice.contains("already"), "{twice}");
    store.turn_to("prod").unwrap();
    assert_eq!(store.current().unwrap(), "prod");
    store.turn_to(DEFAULT).unwrap();
    assert_eq!(store.current().unwrap(), DEFAULT);
    store.remove("prod").unwrap();
    for error in [
        store.read("prod").unwrap_err(),
        store.remove("prod").unwrap_err(),
        store.turn_to("prod").unwrap_err(),
    ] {
        assert!(
            error.to_string().contains("there is no context \"prod\""),
            "{error}"
        );
    }
    for name in ["../prod", "", DEFAULT, "a/b"] {
        assert!(store.create(&kept(name)).is_err(), "{name}");
    }
}
