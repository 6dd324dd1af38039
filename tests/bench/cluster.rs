//! A cluster in a lab, and the calls that the figures time.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use skep_harness::builders;
use skep_harness::cluster::Cluster;
use skep_harness::in_process::request;
use skep_proto::channel;
use skep_proto::ids::NetworkId;
use skep_proto::spec::TaskSpec;
use skep_proto::wire::v1::control_client::ControlClient;
use skep_proto::wire::{self, v1};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A user's calls.
pub type User = ControlClient<Channel>;

/// Names another `skep` for the nodes to run than this program.
pub const PROGRAM: &str = "SKEP_BENCH_PROGRAM";

/// This program, or the one that [`PROGRAM`] names.
pub fn program() -> anyhow::Result<String> {
    let program = match std::env::var_os(PROGRAM) {
        Some(program) => program.into(),
        None => std::env::current_exe()?,
    };
    let program = program.to_str();
    Ok(program
        .context("the program's path is not UTF-8")?
        .to_owned())
}

/// A cluster whose nodes run [`program`].
pub fn up(managers: usize, workers: usize) -> anyhow::Result<Cluster> {
    let program = program()?;
    eprintln!("a lab of {managers} managers and {workers} workers …");
    Ok(Cluster::up(&program, managers, workers))
}

/// A connection to the daemon of a node.
pub async fn user(cluster: &Cluster, node: &str) -> anyhow::Result<User> {
    let socket = cluster.lab.socket(node)?;
    Ok(ControlClient::new(channel::connect_unix(&socket).await?))
}

/// Makes an overlay.
pub async fn network(user: &mut User, name: &str) -> anyhow::Result<NetworkId> {
    let message = v1::CreateNetworkRequest {
        request: request(),
        spec: Some(v1::NetworkSpec::from(&builders::network_spec(name))),
    };
    let answer = user.create_network(message).await?.into_inner();
    Ok(wire::id(&answer.id, "id")?)
}

/// The command that makes a service of the built-in image, on an overlay or on none.
pub fn creation(name: &str, replicas: u32, network: Option<NetworkId>) -> v1::CreateServiceRequest {
    let task = TaskSpec {
        networks: network.map(builders::on).into_iter().collect(),
        ..builders::task_spec()
    };
    let spec = builders::service_spec(name, replicas, task);
    v1::CreateServiceRequest {
        request: request(),
        spec: Some(v1::ServiceSpec::from(&spec)),
        ..Default::default()
    }
}

/// Waits until so many tasks of a service run, looking again and again after `pace`.
pub async fn until_running(
    user: &mut User,
    service: &str,
    replicas: u32,
    pace: Duration,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut seen = 0;
    while begin.elapsed() < PATIENCE {
        let get = v1::GetRequest {
            reference: service.into(),
            read: None,
        };
        seen = user.get_service(get).await?.into_inner().running;
        if seen == replicas {
            return Ok(());
        }
        tokio::time::sleep(pace).await;
    }
    bail!("{seen} of {replicas} tasks of {service} run after {PATIENCE:?}")
}

/// Removes a service and waits until nothing of it is left.
pub async fn remove(user: &mut User, service: &str) -> anyhow::Result<()> {
    let message = v1::RemoveServiceRequest {
        request: request(),
        reference: service.into(),
    };
    user.remove_service(message).await?;
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let left = user.list_tasks(v1::ListTasksRequest::default()).await?;
        let left = left.into_inner().tasks;
        if left.iter().all(|task| task.service_name != service) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("tasks of {service} are left after {PATIENCE:?}")
}

/// Calls again and again while there is no leader, as the command line does.
pub async fn persist<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) if status.code() == Code::Unavailable && begin.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(status) => bail!("{}", status.message()),
        }
    }
}
