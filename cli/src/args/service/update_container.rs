//! `skep service update`: what its containers are. What is not named stays as it is.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use skep_proto::spec::{Mount, Ulimit};

use crate::args::read;

/// What changes about a service's containers.
#[derive(Args, Debug, Default)]
pub struct UpdateContainerArgs {
    /// What to run instead of the image's entrypoint; "" is the image's.
    #[arg(long, value_name = "COMMAND", value_parser = read::container::command)]
    pub entrypoint: Option<read::container::Words>,
    /// Who it runs as: USER, UID, USER:GROUP or UID:GID; "" is the image's.
    #[arg(long, short, value_name = "USER")]
    pub user: Option<String>,
    /// Working directory; "" is the image's.
    #[arg(long, short, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Add a group of that user.
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Remove a group of that user.
    #[arg(long, value_name = "GROUP")]
    pub group_rm: Vec<String>,
    /// Make the container's root file system read-only, or not.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub read_only: Option<bool>,
    /// Give its tasks a terminal for their output, or not.
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub tty: Option<bool>,
    /// Run a small init as first process, or not.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub init: Option<bool>,
    /// Add a line to /etc/hosts.
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = read::container::host)]
    pub host_add: Vec<(String, IpAddr)>,
    /// Remove a line of /etc/hosts.
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = read::container::host)]
    pub host_rm: Vec<(String, IpAddr)>,
    /// Ask this server too for names that the cluster does not know.
    #[arg(long, value_name = "ADDRESS")]
    pub dns_add: Vec<IpAddr>,
    /// Ask this server no longer.
    #[arg(long, value_name = "ADDRESS")]
    pub dns_rm: Vec<IpAddr>,
    /// Add a search domain.
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search_add: Vec<String>,
    /// Remove a search domain.
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search_rm: Vec<String>,
    /// Add a resolver option.
    #[arg(long, value_name = "OPTION")]
    pub dns_option_add: Vec<String>,
    /// Remove a resolver option.
    #[arg(long, value_name = "OPTION")]
    pub dns_option_rm: Vec<String>,
    /// Limit single processes: NAME=SOFT or NAME=SOFT:HARD.
    #[arg(long, value_name = "LIMIT", value_parser = read::container::ulimit)]
    pub ulimit_add: Vec<Ulimit>,
    /// Remove a limit of single processes.
    #[arg(long, value_name = "NAME")]
    pub ulimit_rm: Vec<String>,
    /// Set a kernel parameter of the container's own namespaces.
    #[arg(long, value_name = "NAME=VALUE", value_parser = read::container::sysctl)]
    pub sysctl_add: Vec<(String, String)>,
    /// Set a kernel parameter no longer.
    #[arg(long, value_name = "NAME")]
    pub sysctl_rm: Vec<String>,
    /// Add a capability; one that was dropped is dropped no longer.
    #[arg(long, value_name = "CAPABILITY", value_parser = read::container::capability)]
    pub cap_add: Vec<String>,
    /// Take a capability away; one that was added is added no longer.
    #[arg(long, value_name = "CAPABILITY", value_parser = read::container::capability)]
    pub cap_drop: Vec<String>,
    /// Whom the kernel ends first when memory is short: -1000 to 1000.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    /// Size of /dev/shm.
    #[arg(long, value_name = "BYTES", value_parser = read::bytes)]
    pub shm_size: Option<u64>,
    /// Mount something, as --mount of create; what was mounted there goes.
    #[arg(long, value_name = "MOUNT", value_parser = read::mount::mount)]
    pub mount_add: Vec<Mount>,
    /// Remove what is mounted there.
    #[arg(long, value_name = "TARGET")]
    pub mount_rm: Vec<String>,
    /// Give it a secret, as --secret of create; what showed at its target goes.
    #[arg(long, value_name = "SECRET", value_parser = read::file::wish)]
    pub secret_add: Vec<read::file::Wish>,
    /// Give it this secret no longer.
    #[arg(long, value_name = "NAME")]
    pub secret_rm: Vec<String>,
    /// Give it a config, as --config of create; what showed at its target goes.
    #[arg(long, value_name = "CONFIG", value_parser = read::file::wish)]
    pub config_add: Vec<read::file::Wish>,
    /// Give it this config no longer.
    #[arg(long, value_name = "NAME")]
    pub config_rm: Vec<String>,
    /// A line for /bin/sh inside that says by exit code 0 that the container is well.
    #[arg(long, value_name = "COMMAND", conflicts_with = "no_healthcheck")]
    pub health_cmd: Option<String>,
    /// From one check to the next.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_interval: Option<Duration>,
    /// A check that takes longer has failed.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_timeout: Option<Duration>,
    /// So many failures in a row and a task is replaced.
    #[arg(long, value_name = "NUMBER")]
    pub health_retries: Option<u32>,
    /// Failures do not count for so long after the start.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_start_period: Option<Duration>,
    /// From check to check within the start period.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub health_start_interval: Option<Duration>,
    /// Do not check, whatever the image says.
    #[arg(long)]
    pub no_healthcheck: bool,
}
