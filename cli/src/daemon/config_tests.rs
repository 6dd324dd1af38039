use super::*;

fn args(config: Option<PathBuf>) -> DaemonArgs {
    DaemonArgs {
        config,
        label: vec!["disk=ssd".into()],
        node_generic_resource: vec!["gpu=2".into()],
        ..DaemonArgs::default()
    }
}

fn with_file(text: &str) -> (tempfile::TempDir, DaemonArgs) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skep.toml");
    std::fs::write(&path, text).unwrap();
    (dir, args(Some(path)))
}

#[test]
fn the_command_line_wins_over_the_file() {
    let (_dir, mut args) =
        with_file("data-root = \"/a\"\nexec-root = \"/b\"\n[labels]\ndisk = \"hdd\"\n");
    args.data_root = Some("/c".into());
    let config = read(args, None).unwrap();
    assert_eq!(config.data_root, Path::new("/c"));
    assert_eq!(config.exec_root, Path::new("/b"));
    assert_eq!(config.socket, Path::new("/b/skep.sock"));
    assert_eq!(config.labels["disk"], "ssd");
}

#[test]
fn a_wrong_file_is_refused_with_the_place() {
    let (_dir, args) = with_file("data-rot = \"/a\"\n");
    let error = format!("{:#}", read(args, None).unwrap_err());
    assert!(
        error.contains("data-rot") && error.contains("line 1"),
        "{error}"
    );
}

#[test]
fn a_named_file_must_be_there() {
    let error = read(args(Some("/nowhere/skep.toml".into())), None).unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/skep.toml"));
}

#[test]
fn an_address_must_be_a_socket() {
    assert!(read(args(Some("/dev/null".into())), Some("tcp://x")).is_err());
    let config = read(args(Some("/dev/null".into())), Some("unix:///x/y.sock")).unwrap();
    assert_eq!(config.socket, Path::new("/x/y.sock"));
}

#[test]
fn registries_are_reached_as_the_file_and_the_command_line_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("skep.toml");
    std::fs::write(
        &path,
        "insecure-registries = [\"a.lan:5000\"]\nregistry-mirrors = [\"https://m.lan\"]\n",
    )
    .unwrap();
    let mut args = args(Some(path.clone()));
    args.insecure_registry = vec!["10.0.0.0/8".into()];
    args.registry_mirror = vec!["quay.io=http://q.lan".into()];
    let found = read(args, None).unwrap().registries;
    assert_eq!(found.insecure, ["a.lan:5000", "10.0.0.0/8"]);
    assert_eq!(found.mirrors["docker.io"], ["https://m.lan"]);
    assert_eq!(found.mirrors["quay.io"], ["http://q.lan"]);
    assert_eq!(found.certificates[0], directory.path().join("certs.d"));

    let text = "[registry-mirrors]\n\"index.docker.io\" = [\"https://m.lan\"]\n";
    std::fs::write(&path, text).unwrap();
    let found = read(super::tests::args(Some(path.clone())), None)
        .unwrap()
        .registries;
    assert_eq!(found.mirrors["docker.io"], ["https://m.lan"]);

    std::fs::write(&path, "insecure-registries = [\"http://a.lan\"]\n").unwrap();
    let wrong = read(super::tests::args(Some(path)), None);
    assert!(wrong.unwrap_err().to_string().contains("http://a.lan"));
}

#[test]
fn generic_resources_add_up_and_the_command_line_wins() {
    let (_dir, mut args) =
        with_file("node-generic-resources = [\"gpu=8\", \"ssd=1\", \"ssd=2\"]\n");
    let config = read(args, None).unwrap();
    assert_eq!(
        config.generic,
        [("gpu".into(), 2), ("ssd".into(), 3)].into()
    );
    args = super::tests::args(None);
    args.node_generic_resource = vec!["gpu".into()];
    assert!(format!("{:#}", read(args, None).unwrap_err()).contains("KIND=AMOUNT"));
}

#[test]
fn metrics_are_off_unless_an_address_is_named() {
    let (_dir, args) = with_file("");
    assert_eq!(read(args, None).unwrap().metrics, None);
    let (_dir, mut args) = with_file("metrics-addr = \"127.0.0.1:9323\"\n");
    let port = |address: Option<SocketAddr>| address.map(|address| address.port());
    let at = |args: &DaemonArgs| DaemonArgs {
        config: args.config.clone(),
        metrics_addr: args.metrics_addr,
        ..DaemonArgs::default()
    };
    assert_eq!(port(read(at(&args), None).unwrap().metrics), Some(9323));
    args.metrics_addr = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
    assert_eq!(port(read(args, None).unwrap().metrics), Some(1));
}
