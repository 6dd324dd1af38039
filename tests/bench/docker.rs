//! Debian's Docker on a node of a lab: only to pull images, so that it needs no network of its own.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use skep_harness::cluster::Cluster;
use skep_harness::packages;

const SOCKET: &str = "unix:///run/docker-bench.sock";
/// On the disk that skep's images lie on too.
const STORE: &str = "/run/lab/store/docker";
/// For it to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(50);

/// A dockerd; it ends with this value.
pub struct Docker {
    child: Child,
    node: &'static str,
    /// Words before its client's own.
    client: Vec<String>,
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Docker {
    /// Starts it on a node, by the machine's own packages or such as `apt-get download` brings. Plain http is for one
    /// registry.
    pub fn start(cluster: &Cluster, node: &'static str, registry: &str) -> anyhow::Result<Self> {
        let environment = environment();
        let plain = format!("--insecure-registry={registry}");
        let root = format!("--data-root={STORE}");
        let args = [
            "dockerd",
            "-H",
            SOCKET,
            &root,
            "--exec-root=/run/docker-bench",
            "--pidfile=/run/docker-bench.pid",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            &plain,
        ];
        let before = environment.iter().map(String::as_str);
        let argv: Vec<&str> = ["env"].into_iter().chain(before).chain(args).collect();
        let log = tempfile::tempfile()?;
        let mut command = cluster.lab.command(node, &argv)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?);
        let child = command.spawn().context("start dockerd")?;
        let client = ["env".to_owned()].into_iter().chain(environment);
        let client = client.chain(["docker", "-H", SOCKET].map(str::to_owned));
        let mut docker = Self {
            child,
            node,
            client: client.collect(),
        };
        docker.until_it_listens(cluster, log)?;
        Ok(docker)
    }

    fn until_it_listens(
        &mut self,
        cluster: &Cluster,
        mut log: std::fs::File,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && self.child.try_wait()?.is_none() {
            if self.call(cluster, &["version"]).is_ok() {
                return Ok(());
            }
            std::thread::park_timeout(LOOK);
        }
        let mut said = String::new();
        std::io::Seek::rewind(&mut log)?;
        std::io::Read::read_to_string(&mut log, &mut said)?;
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        bail!("dockerd does not listen: {}", last.join(" | "))
    }

    fn call(&self, cluster: &Cluster, args: &[&str]) -> anyhow::Result<()> {
        let client = self.client.iter().map(String::as_str);
        let argv: Vec<&str> = client.chain(args.iter().copied()).collect();
        let ended = cluster.run(self.node, &argv);
        ensure!(ended.code == 0, "docker {args:?}: {}", ended.err);
        Ok(())
    }

    /// How long a pull takes of an image that it does not have; afterwards it has it no more.
    pub fn pull(&self, cluster: &Cluster, name: &str) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        self.call(cluster, &["pull", "-q", name])?;
        let taken = begin.elapsed();
        self.call(cluster, &["rmi", "-f", name])?;
        Ok(taken)
    }
}

/// Where its programs and their libraries are.
fn environment() -> Vec<String> {
    if ["/usr/sbin/dockerd", "/usr/bin/dockerd"]
        .iter()
        .any(|path| PathBuf::from(path).exists())
    {
        return Vec::new();
    }
    let tree = packages::tree(&["docker.io", "containerd", "runc"]);
    let tree = tree.display();
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let own = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    vec![
        format!("PATH={tree}/usr/sbin:{tree}/usr/bin:{own}"),
        format!("LD_LIBRARY_PATH={tree}/lib/{machine}:{tree}/usr/lib/{machine}"),
    ]
}
