//! Options typed as a user does reach the spec.

use clap::Parser;
use skep_proto::spec::MountSource;
use skep_proto::validate;

use super::*;
use crate::args::service::ServiceCommand;
use crate::args::{Cli, Command};

fn typed(words: &[&str]) -> ContainerSpec {
    let line = ["skep", "service", "create"]
        .iter()
        .chain(words)
        .chain(&["app"]);
    let Command::Service(ServiceCommand::Create(args)) = Cli::try_parse_from(line).unwrap().command
    else {
        panic!("another command")
    };
    let mut spec = ContainerSpec {
        env: args.env.clone(),
        ..ContainerSpec::new("app")
    };
    fill(args.container, &mut spec).unwrap();
    spec
}

#[test]
fn options_have_dockers_names_and_reach_the_spec() {
    let spec = typed(&[
        "--entrypoint",
        "sh -c 'exit 3'",
        "-u",
        "web:www",
        "--group",
        "log",
        "-w",
        "/srv",
        "--read-only",
        "--init",
        "--host",
        "db:10.0.0.9",
        "--dns",
        "10.0.0.1",
        "--dns-search",
        "corp",
        "--dns-option",
        "ndots:2",
        "--ulimit",
        "nofile=9:10",
        "--sysctl",
        "net.core.somaxconn=9",
        "--cap-add",
        "net_admin",
        "--cap-drop",
        "CAP_CHOWN",
        "--privileged",
        "--security-opt",
        "no-new-privileges",
        "--security-opt",
        "seccomp=unconfined",
        "--device",
        "/dev/fuse:r",
        "--oom-score-adj",
        "-500",
        "--shm-size",
        "1m",
        "--mount",
        "type=tmpfs,target=/t",
        "-v",
        "rows:/v:ro",
    ]);
    assert_eq!(spec.entrypoint, ["sh", "-c", "exit 3"]);
    assert_eq!(spec.user.as_deref(), Some("web:www"));
    assert_eq!(
        (spec.groups.len(), spec.workdir.as_deref()),
        (1, Some("/srv"))
    );
    assert!(spec.read_only && spec.init);
    assert_eq!(spec.hosts, [("db".to_owned(), "10.0.0.9".parse().unwrap())]);
    assert_eq!((spec.dns.servers.len(), &*spec.dns.search[0]), (1, "corp"));
    assert_eq!((spec.ulimits[0].soft, spec.ulimits[0].hard), (9, 10));
    assert_eq!(spec.sysctls["net.core.somaxconn"], "9");
    let privileges = &spec.privileges;
    assert_eq!(
        (&*privileges.cap_add[0], &*privileges.cap_drop[0]),
        ("NET_ADMIN", "CHOWN")
    );
    assert!(privileges.privileged && privileges.no_new_privileges);
    assert_eq!(privileges.seccomp, Seccomp::Unconfined);
    assert_eq!(privileges.devices[0].permissions, "r");
    assert_eq!((spec.oom_score_adj, spec.shm_size), (-500, Some(1 << 20)));
    assert!(matches!(spec.mounts[0].source, MountSource::Tmpfs { .. }));
    assert!(matches!(&spec.mounts[1].source, MountSource::Volume(used) if used.name.is_some()));
    let task = skep_proto::spec::TaskSpec::new(spec);
    let service = skep_proto::spec::ServiceSpec::new("app", task);
    assert_eq!(validate::service(&service), Ok(()));
}

#[test]
fn an_environment_file_is_below_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("env");
    std::fs::write(&path, "A=file\nB=file\nNO_SUCH_VARIABLE_HERE\n").unwrap();
    let spec = typed(&["--env-file", path.to_str().unwrap(), "--env", "A=line"]);
    assert_eq!(spec.env, ["A=file", "B=file", "A=line"]);
}

#[test]
fn the_daemons_address_and_a_line_of_hosts_share_a_name() {
    let line = [
        "skep",
        "--host",
        "unix:///x",
        "service",
        "create",
        "--host",
        "db:10.0.0.9",
        "app",
    ];
    let cli = Cli::try_parse_from(line).unwrap();
    assert_eq!(cli.host.as_deref(), Some("unix:///x"));
}
