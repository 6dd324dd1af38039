//! Logs, further programs and containers of a node: `logs`, `exec` and `skep container`.

use anyhow::bail;
use clap::{Args, Subcommand};
use skep_proto::spec::LogDriver;

use super::{InspectArgs, ListArgs, read};

/// Which lines of which logs, and how.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Ids, beginnings of ids, or names.
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<String>,
    /// Go on with what is written from now on.
    #[arg(long, short)]
    pub follow: bool,
    /// Only so many lines at the end of each log, or all.
    #[arg(long, short = 'n', default_value = "all", value_name = "LINES", value_parser = read::tail)]
    pub tail: read::Tail,
    /// Nothing before this: 2026-03-01T12:00:00Z, seconds since 1970, or 42m for "42 minutes ago".
    #[arg(long, value_name = "TIME", value_parser = read::moment)]
    pub since: Option<u64>,
    /// Nothing after this.
    #[arg(long, value_name = "TIME", value_parser = read::moment)]
    pub until: Option<u64>,
    /// When each line was written.
    #[arg(long, short)]
    pub timestamps: bool,
    /// Node, service and task of each line.
    #[arg(long)]
    pub details: bool,
    /// No ids in front of lines.
    #[arg(long)]
    pub no_task_ids: bool,
    /// Ids instead of names in front of lines.
    #[arg(long)]
    pub no_resolve: bool,
    /// Whole ids in front of lines.
    #[arg(long)]
    pub no_trunc: bool,
    /// Nothing in front of lines.
    #[arg(long)]
    pub raw: bool,
}

/// What to run in a container that runs.
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// Pass the standard input on.
    #[arg(long, short)]
    pub interactive: bool,
    /// Give it a terminal.
    #[arg(long, short)]
    pub tty: bool,
    /// Let it go on by itself.
    #[arg(long, short, conflicts_with_all = ["interactive", "tty"])]
    pub detach: bool,
    /// Set an environment variable; NAME alone takes the value from here.
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Its working directory [default: the container's].
    #[arg(long, short, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Who it runs as: NAME|UID[:NAME|GID] [default: the container's].
    #[arg(long, short, value_name = "USER")]
    pub user: Option<String>,
    /// All capabilities.
    #[arg(long)]
    pub privileged: bool,
    /// Keys that let it go on by itself, with a terminal.
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS", value_parser = read::keys)]
    pub detach_keys: read::Keys,
    /// Id, beginning of an id, or name on the node.
    pub object: String,
    /// The program and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<String>,
}

/// The containers of this node.
#[derive(Subcommand, Debug)]
pub enum ContainerCommand {
    /// List the containers of this node.
    #[command(visible_alias = "ps")]
    Ls(ContainerLsArgs),
    /// Show containers in full.
    Inspect(InspectArgs),
    /// Show what containers write.
    Logs(LogsArgs),
    /// Run a program in a container.
    Exec(ExecArgs),
    /// Show what containers use, again and again.
    Stats(StatsArgs),
    /// Show the processes of a container.
    Top {
        /// Id, beginning of an id, or name.
        container: String,
    },
    /// Send a signal to the first process of containers.
    Kill {
        /// The signal.
        #[arg(long, short, default_value = "SIGKILL", value_parser = read::signal)]
        signal: i32,
        /// Ids, beginnings of ids, or names.
        #[arg(required = true)]
        containers: Vec<String>,
    },
    /// Freeze all processes of containers.
    Pause {
        /// Ids, beginnings of ids, or names.
        #[arg(required = true)]
        containers: Vec<String>,
    },
    /// Let the processes of containers go on.
    Unpause {
        /// Ids, beginnings of ids, or names.
        #[arg(required = true)]
        containers: Vec<String>,
    },
}

/// Which containers to list.
#[derive(Args, Debug)]
pub struct ContainerLsArgs {
    /// Those that do not run too.
    #[arg(long, short)]
    pub all: bool,
    /// How to print it.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Whose figures to show.
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Ids, beginnings of ids, or names [default: all that run].
    pub containers: Vec<String>,
    /// Only once.
    #[arg(long)]
    pub no_stream: bool,
    /// Whole ids.
    #[arg(long)]
    pub no_trunc: bool,
}

/// How the output of a service's tasks is kept.
#[derive(Args, Debug, Default)]
pub struct LogDriverArgs {
    /// json-file, local or none [default: json-file of at most three files of 10 MiB].
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Option of the driver: max-size=SIZE or max-file=NUMBER.
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<String>,
}

impl LogDriverArgs {
    /// The driver that was typed, or else `had`. Options alone are those of the driver that was there.
    ///
    /// # Errors
    /// Names an option that is not NAME=VALUE.
    pub fn driver(&self, had: Option<LogDriver>) -> anyhow::Result<Option<LogDriver>> {
        if self.log_driver.is_none() && self.log_opt.is_empty() {
            return Ok(had);
        }
        let had = had.map_or_else(|| "json-file".into(), |had| had.name);
        let name = self.log_driver.clone().unwrap_or(had);
        if name.is_empty() && self.log_opt.is_empty() {
            return Ok(None);
        }
        let mut driver = LogDriver {
            name,
            options: std::collections::BTreeMap::new(),
        };
        for option in &self.log_opt {
            let Some((name, value)) = option.split_once('=') else {
                bail!("--log-opt: \"{option}\" is not NAME=VALUE, such as max-size=10m");
            };
            driver.options.insert(name.to_owned(), value.to_owned());
        }
        Ok(Some(driver))
    }
}
