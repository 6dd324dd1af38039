use std::time::Duration;

use super::*;

#[test]
fn durations_are_read_as_docker_writes_them() {
    for (text, millis) in [
        ("0", 0),
        ("0s", 0),
        ("500ms", 500),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "5", "s", "1x", "-1s", "1s2"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_are_powers_of_1024() {
    for (text, size) in [
        ("1024", 1024),
        ("64m", 64 << 20),
        ("1.5G", 3 << 29),
        ("512KiB", 512 << 10),
    ] {
        assert_eq!(bytes(text), Ok(size), "{text}");
    }
    for text in ["", "m", "1x", "-1", "1..2m", "99999999999999t"] {
        assert!(bytes(text).is_err(), "{text}");
    }
}

#[test]
fn cores_are_exact() {
    assert_eq!(cpus("0.1"), Ok(100_000_000));
    assert_eq!(cpus("2"), Ok(2_000_000_000));
    assert_eq!(cpus(".5"), Ok(500_000_000));
    assert!(cpus("a").is_err());
}

#[test]
fn ports_are_read_in_both_forms() {
    let short = port("8080:80/udp").unwrap();
    assert_eq!(
        (short.published, short.target, short.protocol),
        (Some(8080), 80, Protocol::Udp)
    );
    let long = port("published=8080,target=80,mode=host").unwrap();
    assert_eq!(
        (long.published, long.target, long.mode),
        (Some(8080), 80, PublishMode::Host)
    );
    assert_eq!(port("80").unwrap().published, None);
    for text in [
        "",
        "0",
        "70000",
        "1:2:3",
        "80/icmp",
        "published=80",
        "target=80,mode=x",
        "x=1",
    ] {
        assert!(port(text).is_err(), "{text}");
    }
}

#[test]
fn signals_have_names_and_numbers() {
    for text in ["SIGTERM", "term", "15"] {
        assert_eq!(signal(text), Ok(15), "{text}");
    }
    for text in ["", "0", "65", "SIGNOT"] {
        assert!(signal(text).is_err(), "{text}");
    }
}
