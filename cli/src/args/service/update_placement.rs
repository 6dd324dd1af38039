//! `skep service update`: where its tasks go. What is not named stays as it is.

use std::time::Duration;

use clap::Args;
use skep_proto::constraint::Key;

use super::EndpointArg;
use crate::args::read;

/// What changes about where a service's tasks go.
#[derive(Args, Debug, Default)]
pub struct UpdatePlacementArgs {
    /// So many tasks of a replicated job run at the same time; 0 is all.
    #[arg(long, value_name = "NUMBER")]
    pub max_concurrent: Option<u32>,
    /// Spread the tasks over what nodes say besides, such as spread=node.labels.zone.
    #[arg(long, value_name = "spread=KEY", value_parser = read::preference)]
    pub placement_pref_add: Vec<Key>,
    /// Spread the tasks over this no longer.
    #[arg(long, value_name = "spread=KEY", value_parser = read::preference)]
    pub placement_pref_rm: Vec<Key>,
    /// Most tasks on one node; 0 is no bound.
    #[arg(long, value_name = "NUMBER")]
    pub replicas_max_per_node: Option<u32>,
    /// Reserve other things that nodes have, such as gpu=2.
    #[arg(long, value_name = "KIND=AMOUNT", value_parser = read::reserved)]
    pub generic_resource_add: Vec<(String, u64)>,
    /// Reserve things of this kind no longer.
    #[arg(long, value_name = "KIND")]
    pub generic_resource_rm: Vec<String>,
    /// A node that was silent for so long has lost the tasks; 0s is the cluster's.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub lost_after: Option<Duration>,
    /// How the service is found on its networks.
    #[arg(long, value_enum)]
    pub endpoint_mode: Option<EndpointArg>,
}
