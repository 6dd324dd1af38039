//! The options of a service's containers, with Docker's names.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skep_proto::spec::{Device, Mount, Ulimit};

use crate::args::read;

/// What the containers of a service are, besides their image.
#[derive(Args, Debug, Default)]
pub struct ContainerArgs {
    /// Read environment variables from a file of NAME=VALUE lines; --env wins.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// What to run instead of the image's entrypoint; words as a shell would split them.
    #[arg(long, value_name = "COMMAND", value_parser = read::container::command)]
    pub entrypoint: Option<read::container::Words>,
    /// Who it runs as: USER, UID, USER:GROUP or UID:GID [default: the image's, then root].
    #[arg(long, short, value_name = "USER")]
    pub user: Option<String>,
    /// Further groups of that user, by name or number.
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Working directory [default: the image's].
    #[arg(long, short, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Make the container's root file system read-only.
    #[arg(long)]
    pub read_only: bool,
    /// Run a small init as first process, which passes signals on and reaps.
    #[arg(long)]
    pub init: bool,
    /// Add a line to /etc/hosts.
    #[arg(id = "hosts", long = "host", value_name = "NAME:ADDRESS", value_parser = read::container::host)]
    pub hosts: Vec<(String, IpAddr)>,
    /// Ask this server for names that the cluster does not know [default: the node's].
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// Search domain; . is none [default: the node's].
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option, such as ndots:2.
    #[arg(long, value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Limit single processes: NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:2048; -1 is no limit.
    #[arg(long, value_name = "LIMIT", value_parser = read::container::ulimit)]
    pub ulimit: Vec<Ulimit>,
    /// Set a kernel parameter of the container's own namespaces, such as net.core.somaxconn=1024.
    #[arg(long, value_name = "NAME=VALUE", value_parser = read::container::sysctl)]
    pub sysctl: Vec<(String, String)>,
    /// Add a capability, such as NET_ADMIN or ALL.
    #[arg(long, value_name = "CAPABILITY", value_parser = read::container::capability)]
    pub cap_add: Vec<String>,
    /// Take a capability away, such as CHOWN or ALL.
    #[arg(long, value_name = "CAPABILITY", value_parser = read::container::capability)]
    pub cap_drop: Vec<String>,
    /// Give all capabilities and devices; the container can do on its node what root can.
    #[arg(long)]
    pub privileged: bool,
    /// no-new-privileges, or seccomp=unconfined.
    #[arg(long, value_name = "OPTION", value_parser = read::container::security)]
    pub security_opt: Vec<read::container::Security>,
    /// Give a device of the node: `PATH[:PATH-INSIDE[:rwm]]`.
    #[arg(long, value_name = "DEVICE", value_parser = read::container::device)]
    pub device: Vec<Device>,
    /// Whom the kernel ends first when memory is short: -1000 to 1000.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub oom_score_adj: i32,
    /// Size of /dev/shm [default: 64m].
    #[arg(long, value_name = "BYTES", value_parser = read::bytes)]
    pub shm_size: Option<u64>,
    /// Mount something: `type=volume|bind|tmpfs,source=…,target=…[,readonly][,…]`.
    #[arg(long, value_name = "MOUNT", value_parser = read::mount::mount)]
    pub mount: Vec<Mount>,
    /// Mount a volume or a directory of the node: NAME|PATH:TARGET[:ro,…].
    #[arg(long, short, value_name = "VOLUME", value_parser = read::mount::short)]
    pub volume: Vec<Mount>,
    /// Give it a secret: NAME, or `source=…[,target=…][,uid=…][,gid=…][,mode=…]` [default target: /run/secrets/NAME].
    #[arg(long, value_name = "SECRET", value_parser = read::file::wish)]
    pub secret: Vec<read::file::Wish>,
    /// Give it a config: NAME, or `source=…[,target=…][,uid=…][,gid=…][,mode=…]` [default target: /NAME].
    #[arg(long, value_name = "CONFIG", value_parser = read::file::wish)]
    pub config: Vec<read::file::Wish>,
}

/// The health check of a service's containers.
#[derive(Args, Debug, Default)]
pub struct HealthArgs {
    /// A line for /bin/sh inside that says by exit code 0 that the container is well.
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// From one check to the next [default: the image's, then 30s].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_interval: Option<Duration>,
    /// A check that takes longer has failed [default: the image's, then 30s].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_timeout: Option<Duration>,
    /// So many failures in a row and a task is replaced [default: the image's, then 3].
    #[arg(long, value_name = "NUMBER")]
    pub health_retries: Option<u32>,
    /// Failures do not count for so long after the start [default: the image's, then 0s].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_start_period: Option<Duration>,
    /// From check to check within the start period [default: the image's, then 5s].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_start_interval: Option<Duration>,
    /// Do not check, whatever the image says.
    #[arg(long)]
    pub no_healthcheck: bool,
}
