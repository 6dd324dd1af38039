//! `skep swarm`.

mod backup;
mod ca;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use skep_proto::cluster::ClusterSpec;
use skep_proto::ids::NodeId;
use skep_proto::wire::{self, v1};

use super::client::{Client, persist, request, said};
use super::labels;
use crate::args::swarm::{
    ClusterArgs, InitArgs, JoinArgs, JoinTokenArgs, LeaveArgs, RoleArg, SwarmCommand,
};
use crate::output;

/// Port for control traffic between nodes.
const CONTROL_PORT: u16 = 2377;

/// Does what `skep swarm …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: SwarmCommand) -> anyhow::Result<ExitCode> {
    match command {
        SwarmCommand::Init(args) => init(client, args).await,
        SwarmCommand::Join(args) => join(client, args).await,
        SwarmCommand::JoinToken(args) => join_token(client, args).await,
        SwarmCommand::Ca => ca::print(client).await,
        SwarmCommand::Leave(args) => leave(client, args).await,
        SwarmCommand::Update(args) => update(client, args).await,
        SwarmCommand::Backup(args) => backup::save(client, &args).await,
        SwarmCommand::Restore(args) => backup::restore(client, &args).await,
    }
}

fn address(ip: Option<IpAddr>, port: u16) -> Option<v1::Address> {
    ip.map(|ip| v1::Address::from(SocketAddr::new(ip, port)))
}

async fn init(client: &Client, args: InitArgs) -> anyhow::Result<ExitCode> {
    let spec = ClusterSpec {
        pool: args.default_addr_pool,
        pool_prefix: args.default_addr_pool_mask_length,
        data_path_port: args.data_path_port,
        ..ClusterSpec::default()
    };
    let message = v1::InitRequest {
        advertise: address(args.advertise_addr, args.control_port),
        listen: address(Some(IpAddr::from([0, 0, 0, 0])), args.control_port),
        spec: Some(v1::ClusterSpec::from(&spec)),
        availability: v1::Availability::Active.into(),
        force_new_cluster: args.force_new_cluster,
    };
    let answer = client
        .local
        .clone()
        .init(message)
        .await
        .map_err(|status| said(&status))?;
    let answer = answer.into_inner();
    if args.force_new_cluster {
        return backup::alone(&answer);
    }
    let node = wire::id::<NodeId>(&answer.node, "node")?;
    let manager = SocketAddr::try_from(answer.advertise.unwrap_or_default())?;
    output::line(&format!(
        "Swarm initialized: this node ({node}) is now a manager.\n\n\
         To add a worker to this swarm, run on another machine:\n\n    \
         skep swarm join --token {} {manager}\n\n\
         To add a manager, run 'skep swarm join-token manager' and follow what it prints.",
        answer.worker_token
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Addresses of `text`, which is HOST or HOST:PORT.
async fn resolve(text: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let named = if let Ok(ip) = text.parse::<IpAddr>() {
        SocketAddr::new(ip, CONTROL_PORT).to_string()
    } else if text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        text.to_owned()
    } else {
        format!("{text}:{CONTROL_PORT}")
    };
    match tokio::net::lookup_host(&named).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => anyhow::bail!("{text}: no such host ({error}); expected HOST or HOST:PORT"),
    }
}

async fn join(client: &Client, args: JoinArgs) -> anyhow::Result<ExitCode> {
    let mut managers = Vec::new();
    for remote in &args.remotes {
        managers.extend(resolve(remote).await?.into_iter().map(v1::Address::from));
    }
    let message = v1::JoinClusterRequest {
        token: args.token,
        managers,
        advertise: address(args.advertise_addr, args.control_port),
        listen: address(Some(IpAddr::from([0, 0, 0, 0])), args.control_port),
        availability: v1::Availability::Active.into(),
        labels: labels(&args.label).context("--label")?,
    };
    let answer = client
        .local
        .clone()
        .join(message)
        .await
        .map_err(|status| said(&status))?;
    let role = match answer.into_inner().role() {
        v1::Role::Manager => "manager",
        _ => "worker",
    };
    output::line(&format!("This node joined a swarm as a {role}."))?;
    Ok(ExitCode::SUCCESS)
}

async fn join_token(client: &Client, args: JoinTokenArgs) -> anyhow::Result<ExitCode> {
    let role = match args.role {
        RoleArg::Worker => v1::Role::Worker,
        RoleArg::Manager => v1::Role::Manager,
    };
    let rotate = if args.rotate {
        vec![role.into()]
    } else {
        Vec::new()
    };
    let message = v1::JoinTokensRequest {
        request: request(),
        rotate,
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.join_tokens(message).await }
    })
    .await?;
    let (name, token) = match args.role {
        RoleArg::Worker => ("worker", answer.worker),
        RoleArg::Manager => ("manager", answer.manager),
    };
    if args.quiet {
        output::line(&token)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.rotate {
        output::line(&format!(
            "The {name} token was made anew; the old one is worth nothing now.\n"
        ))?;
    }
    let manager = answer.managers.into_iter().next().unwrap_or_default();
    let manager = SocketAddr::try_from(manager)?;
    output::line(&format!(
        "To add a {name} to this swarm, run on another machine:\n\n    \
         skep swarm join --token {token} {manager}"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Changes settings of the whole cluster.
async fn update(client: &Client, args: ClusterArgs) -> anyhow::Result<ExitCode> {
    let millis = |duration: Option<Duration>| {
        duration.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
    };
    let message = v1::UpdateClusterRequest {
        request: request(),
        heartbeat_ms: millis(args.heartbeat_period),
        down_after_ms: millis(args.down_after),
        orphan_after_ms: millis(args.orphan_after),
        task_history: args.task_history_limit,
        certificate_expiry_ms: millis(args.cert_expiry),
    };
    persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.update_cluster(message).await }
    })
    .await?;
    output::line("Swarm updated.")?;
    Ok(ExitCode::SUCCESS)
}

async fn leave(client: &Client, args: LeaveArgs) -> anyhow::Result<ExitCode> {
    let message = v1::LeaveRequest { force: args.force };
    client
        .local
        .clone()
        .leave(message)
        .await
        .map_err(|status| said(&status))?;
    output::line("Node left the swarm.")?;
    Ok(ExitCode::SUCCESS)
}
