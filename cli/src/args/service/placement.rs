//! How many tasks a service has, and where they go.

use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_proto::constraint::Key;
use skep_proto::spec::{EndpointMode, Mode};

use crate::args::read;

/// How many tasks a service has.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeArg {
    /// So many, anywhere.
    Replicated,
    /// One on each node that meets the constraints.
    Global,
    /// So many that end well, then no more.
    ReplicatedJob,
    /// One on each node that meets the constraints, until it ends well.
    GlobalJob,
}

/// How a service is found on its networks.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointArg {
    /// By one virtual address.
    Vip,
    /// By the addresses of its tasks.
    Dnsrr,
}

/// How many tasks a service has, and where they go.
#[derive(Args, Debug, Clone)]
pub struct PlacementArgs {
    /// How many tasks: replicated, global, or a job that ends.
    #[arg(long, value_enum, default_value = "replicated")]
    pub mode: ModeArg,
    /// How many tasks; of a job, how many are to end well [default: 1].
    #[arg(long, value_name = "NUMBER")]
    pub replicas: Option<u32>,
    /// So many tasks of a replicated job run at the same time [default: all].
    #[arg(long, value_name = "NUMBER")]
    pub max_concurrent: Option<u32>,
    /// Spread the tasks over what nodes say, such as spread=node.labels.zone; several nest.
    #[arg(long, value_name = "spread=KEY", value_parser = read::preference)]
    pub placement_pref: Vec<Key>,
    /// Most tasks on one node; 0 is no bound.
    #[arg(long, value_name = "NUMBER")]
    pub replicas_max_per_node: Option<u32>,
    /// Reserve other things that nodes have, such as gpu=2.
    #[arg(long, value_name = "KIND=AMOUNT", value_parser = read::reserved)]
    pub generic_resource: Vec<(String, u64)>,
    /// A node that was silent for so long has lost the tasks [default: the cluster's].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub lost_after: Option<Duration>,
    /// How the service is found on its networks.
    #[arg(long, value_enum, default_value = "vip")]
    pub endpoint_mode: EndpointArg,
}

impl PlacementArgs {
    /// The mode that was typed.
    ///
    /// # Errors
    /// Names the option that does not go with it.
    pub fn mode(&self) -> anyhow::Result<Mode> {
        let global = matches!(self.mode, ModeArg::Global | ModeArg::GlobalJob);
        if global && self.replicas.is_some() {
            anyhow::bail!(
                "--replicas: a global service has one task on each node; use it with --mode replicated or \
                 replicated-job"
            );
        }
        if self.max_concurrent.is_some() && self.mode != ModeArg::ReplicatedJob {
            anyhow::bail!("--max-concurrent: is for --mode replicated-job only");
        }
        let replicas = self.replicas.unwrap_or(1);
        Ok(match self.mode {
            ModeArg::Replicated => Mode::Replicated { replicas },
            ModeArg::Global => Mode::Global,
            ModeArg::GlobalJob => Mode::GlobalJob,
            ModeArg::ReplicatedJob => Mode::ReplicatedJob {
                total: replicas,
                // As in Docker, 0 and nothing said both let all run at once.
                max_concurrent: self
                    .max_concurrent
                    .filter(|most| *most > 0)
                    .unwrap_or(replicas.max(1)),
            },
        })
    }

    /// How the service is found.
    pub fn endpoint(&self) -> EndpointMode {
        self.endpoint_mode.into()
    }
}

impl From<EndpointArg> for EndpointMode {
    fn from(typed: EndpointArg) -> Self {
        match typed {
            EndpointArg::Vip => Self::Vip,
            EndpointArg::Dnsrr => Self::Dnsrr,
        }
    }
}
