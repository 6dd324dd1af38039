//! What of image and service counts.

use super::*;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: texts(&["/run"]),
        cmd: texts(&["default"]),
        env: texts(&["A=image", "PATH=/own"]),
        working_dir: "/srv".to_owned(),
        ..ImageConfig::default()
    }
}

#[test]
fn arguments_follow_the_image_unless_the_service_has_its_own() {
    let check = |entrypoint: &[&str], args: &[&str], expected: &[&str]| {
        let spec = ContainerSpec {
            entrypoint: texts(entrypoint),
            args: texts(args),
            ..ContainerSpec::new("x")
        };
        assert_eq!(arguments(&image(), &spec).unwrap(), expected);
    };
    check(&[], &[], &["/run", "default"]);
    check(&[], &["x"], &["/run", "x"]);
    check(&["/own", "-v"], &[], &["/own", "-v"]);
    check(&["/own"], &["x"], &["/own", "x"]);
    assert!(arguments(&ImageConfig::default(), &ContainerSpec::new("x")).is_err());
}

#[test]
fn environment_is_the_images_and_then_the_services() {
    let mut spec = ContainerSpec {
        env: texts(&["A=mine", "HOME"]),
        ..ContainerSpec::new("x")
    };
    let all = environment(&image(), &spec, "host", "/root");
    assert_eq!(all, ["HOSTNAME=host", "PATH=/own", "A=mine"]);
    spec.tty = true;
    let all = environment(&image(), &spec, "host", "/root");
    assert_eq!(all[1..], ["TERM=xterm", "PATH=/own", "A=mine"]);
    spec.env.push("TERM=vt100".to_owned());
    let all = environment(&image(), &spec, "host", "/root");
    assert_eq!(all[1..], ["PATH=/own", "A=mine", "TERM=vt100"]);
}

#[test]
fn workdir_is_the_services_then_the_images() {
    let mut spec = ContainerSpec::new("x");
    assert_eq!(workdir(&image(), &spec), Path::new("/srv"));
    assert_eq!(workdir(&ImageConfig::default(), &spec), Path::new("/"));
    spec.workdir = Some("/own".to_owned());
    assert_eq!(workdir(&image(), &spec), Path::new("/own"));
}

#[test]
fn stop_signals_have_names_and_numbers() {
    for (name, number) in [
        ("SIGQUIT", Some(3)),
        ("term", Some(15)),
        ("9", Some(9)),
        ("SIGRTMIN+3", Some(37)),
        ("99", None),
        ("SIGNOTHING", None),
    ] {
        assert_eq!(signal_number(name), number, "{name}");
    }
}
