//! Small files that a container gets of its own: names, resolver, and the init that it may ask for.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use skep_proto::assignment::AssignedTask;
use skep_proto::ids::TaskId;
use skep_proto::spec::{ContainerSpec, DnsConfig};

use super::super::ExecError;
use super::super::bundle::{Attachment, Bind};

/// The init inside a container; /dev is memory, so the image's files stay as they are.
pub(super) const INIT: &str = "/dev/skep-init";

/// The program, as the build script made it.
static PROGRAM: &[u8] = include_bytes!(env!("SKEP_INIT"));

/// Its name beside the tasks' directories; no task has it.
const INIT_FILE: &str = "init";
/// What the task's user is to know.
const NOTE: &str = "note";
/// An empty file.
const PLACE: &str = "place";
/// Files of each container, and where below /etc.
const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];
/// Where netd answers in every container.
const RESOLVER: &str = "127.0.0.11";
/// What the node itself asks by.
const NODES: &str = "/etc/resolv.conf";

fn failed(path: &Path, error: &std::io::Error) -> ExecError {
    ExecError::new(format!("cannot write {}: {error}", path.display()))
}

/// Makes the directory and what all containers share.
pub(super) fn open(files: &Path) -> Result<(), ExecError> {
    fs::create_dir_all(files).map_err(|error| failed(files, &error))?;
    let (init, fresh) = (files.join(INIT_FILE), files.join("init.new"));
    let write = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o555)
            .open(&fresh)?;
        file.write_all(PROGRAM)?;
        // A container of before goes on with the file that it has.
        fs::rename(&fresh, &init)
    };
    write().map_err(|error| failed(&init, &error))
}

/// Keeps what a task's user is to know for as long as its container is there.
pub(super) fn keep_note(files: &Path, task: TaskId, note: &str) {
    let directory = files.join(task.to_string());
    let path = directory.join(NOTE);
    let kept = fs::create_dir_all(&directory).and_then(|()| fs::write(&path, note));
    if let Err(error) = kept {
        tracing::warn!(task.id = %task, %error, "a note is lost with the next restart");
    }
}

/// What was kept.
pub(super) fn note(files: &Path, task: TaskId) -> Option<String> {
    fs::read_to_string(files.join(task.to_string()).join(NOTE)).ok()
}

/// Takes a container's own files away.
pub(super) fn remove(files: &Path, task: TaskId) -> Result<(), ExecError> {
    let directory = files.join(task.to_string());
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ExecError::new(format!(
            "cannot remove {}: {error}",
            directory.display()
        ))),
        _ => Ok(()),
    }
}

/// What stands in the place of a secret or config until it is given: an empty file that cannot be written.
pub(super) fn places(files: &Path, task: &AssignedTask) -> Result<Vec<Attachment>, ExecError> {
    let spec = &task.spec.container;
    let secrets = spec.secrets.iter().map(|used| &used.target);
    let targets: Vec<&String> = secrets
        .chain(spec.configs.iter().map(|used| &used.target))
        .collect();
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let directory = files.join(task.id.to_string());
    let place = directory.join(PLACE);
    let made = fs::create_dir_all(&directory).and_then(|()| fs::write(&place, ""));
    made.map_err(|error| failed(&place, &error))?;
    let attachments = targets.into_iter().map(|target| {
        Attachment::Bind(Bind {
            read_only: true,
            ..Bind::new(&place, target)
        })
    });
    Ok(attachments.collect())
}

/// The init as a mount.
pub(super) fn init(files: &Path) -> Attachment {
    Attachment::Bind(Bind {
        read_only: true,
        ..Bind::new(files.join(INIT_FILE), INIT)
    })
}

/// Writes a container's own files below `files` and gives their mounts.
pub(super) fn write(
    files: &Path,
    task: &AssignedTask,
    hostname: &str,
) -> Result<Vec<Attachment>, ExecError> {
    let spec = &task.spec.container;
    let addresses = task.attachments.iter().filter(|one| !one.ingress);
    let own: Vec<String> = addresses.map(|one| one.address.to_string()).collect();
    let nodes = fs::read_to_string(NODES).unwrap_or_default();
    let contents = [
        format!("{hostname}\n"),
        hosts(spec, &own, hostname),
        resolv_conf(&spec.dns, &nodes),
    ];
    let directory = files.join(task.id.to_string());
    fs::create_dir_all(&directory).map_err(|error| failed(&directory, &error))?;
    FILES
        .iter()
        .zip(contents)
        .map(|(name, content)| {
            let source = directory.join(name);
            fs::write(&source, content).map_err(|error| failed(&source, &error))?;
            let target = Path::new("/etc").join(name);
            Ok(Attachment::Bind(Bind::new(source, target)))
        })
        .collect()
}

fn hosts(spec: &ContainerSpec, own: &[String], hostname: &str) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    for (name, address) in &spec.hosts {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    for address in own {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    text
}

/// Names are asked of netd, which passes on what it does not know. Search domains and options are the service's,
/// else the node's; a search domain `.` is none.
fn resolv_conf(dns: &DnsConfig, nodes: &str) -> String {
    let of_node = |word: &str| -> Vec<String> {
        let mut lines = nodes.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(word)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
        });
        // The last line counts, as for the C library.
        lines.next_back().unwrap_or_default()
    };
    let search = match dns.search.as_slice() {
        [] => of_node("search"),
        own => own
            .iter()
            .filter(|domain| *domain != ".")
            .cloned()
            .collect(),
    };
    let mut options = match dns.options.as_slice() {
        [] => of_node("options"),
        own => own.to_vec(),
    };
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        // A service's name has no dot: it is asked as it stands, before any search domain.
        options.push("ndots:0".to_owned());
    }
    let mut text = format!("nameserver {RESOLVER}\n");
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    text.push_str(&format!("options {}\n", options.join(" ")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolver_is_netd_with_search_and_options_of_service_or_node() {
        let check = |dns: DnsConfig, nodes: &str, expected: &str| {
            let rest = format!("nameserver 127.0.0.11\n{expected}");
            assert_eq!(resolv_conf(&dns, nodes), rest);
        };
        let nodes = "nameserver 10.0.0.1\nsearch old\nsearch lan home\noptions rotate ndots:3\n";
        check(DnsConfig::default(), "", "options ndots:0\n");
        check(
            DnsConfig::default(),
            nodes,
            "search lan home\noptions rotate ndots:3\n",
        );
        let own = DnsConfig {
            search: vec!["corp".to_owned()],
            options: vec!["timeout:1".to_owned()],
            ..DnsConfig::default()
        };
        check(own, nodes, "search corp\noptions timeout:1 ndots:0\n");
        let none = DnsConfig {
            search: vec![".".to_owned()],
            ..DnsConfig::default()
        };
        check(none, nodes, "options rotate ndots:3\n");
    }

    #[test]
    fn hosts_are_the_services_and_its_own_name() {
        let spec = ContainerSpec {
            hosts: vec![
                ("db".to_owned(), "10.0.0.9".parse().unwrap()),
                ("six".to_owned(), "fd00::1".parse().unwrap()),
            ],
            ..ContainerSpec::new("x")
        };
        let text = hosts(&spec, &["10.0.1.2".to_owned()], "web");
        assert!(
            text.ends_with("10.0.0.9\tdb\nfd00::1\tsix\n10.0.1.2\tweb\n"),
            "{text}"
        );
    }
}
