//! What stands under `deploy`: how many, where, with what, and how they are replaced. Pure.

use std::collections::BTreeMap;

use skep_proto::constraint::{Constraint, Key};
use skep_proto::spec::{
    EndpointMode, FailureAction, Mode, RestartCondition, ServiceSpec, TaskSpec, UpdateConfig,
    UpdateOrder,
};
use skep_proto::unit;

use super::fields::Fields;
use crate::stack::place::Trouble;

/// The modes of a service.
#[derive(Clone, Copy)]
enum Kind {
    Replicated,
    Global,
    ReplicatedJob,
    GlobalJob,
}

/// Puts what `deploy` says into the spec.
pub fn apply(deploy: &Fields<'_>, spec: &mut ServiceSpec) -> Result<(), Trouble> {
    spec.mode = mode(deploy, spec.mode)?;
    let endpoints = [("vip", EndpointMode::Vip), ("dnsrr", EndpointMode::Dnsrr)];
    spec.endpoint = deploy
        .word("endpoint_mode", &endpoints)?
        .unwrap_or(EndpointMode::Vip);
    if let Some(fields) = deploy.below("update_config")? {
        spec.update = update(&fields)?;
    }
    if let Some(fields) = deploy.below("rollback_config")? {
        spec.rollback = update(&fields)?;
        if spec.rollback.failure_action == FailureAction::Rollback {
            let reason = "a rollback cannot be rolled back; there are pause and continue";
            return Err(fields.wrong_at("failure_action", reason));
        }
    }
    if let Some(fields) = deploy.below("restart_policy")? {
        restart(&fields, &mut spec.task)?;
    }
    if let Some(fields) = deploy.below("resources")? {
        resources(&fields, &mut spec.task)?;
    }
    if let Some(fields) = deploy.below("placement")? {
        placement(&fields, &mut spec.task)?;
    }
    Ok(())
}

fn mode(deploy: &Fields<'_>, said: Mode) -> Result<Mode, Trouble> {
    let kinds = [
        ("replicated", Kind::Replicated),
        ("global", Kind::Global),
        ("replicated-job", Kind::ReplicatedJob),
        ("global-job", Kind::GlobalJob),
    ];
    let kind = deploy.word("mode", &kinds)?.unwrap_or(Kind::Replicated);
    let replicas: Option<u32> = deploy.number("replicas")?;
    match kind {
        Kind::Replicated => Ok(replicas.map_or(said, |replicas| Mode::Replicated { replicas })),
        Kind::ReplicatedJob => {
            let total = replicas.or(said.replicas()).unwrap_or(1);
            Ok(Mode::ReplicatedJob {
                total,
                max_concurrent: total.max(1),
            })
        }
        Kind::Global | Kind::GlobalJob if replicas.is_some() => Err(deploy.wrong_at(
            "replicas",
            "a global service has one task on each node; leave the line out",
        )),
        Kind::Global => Ok(Mode::Global),
        Kind::GlobalJob => Ok(Mode::GlobalJob),
    }
}

fn update(fields: &Fields<'_>) -> Result<UpdateConfig, Trouble> {
    let usual = UpdateConfig::default();
    let actions = [
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
        ("rollback", FailureAction::Rollback),
    ];
    let orders = [
        ("stop-first", UpdateOrder::StopFirst),
        ("start-first", UpdateOrder::StartFirst),
    ];
    Ok(UpdateConfig {
        parallelism: fields.number("parallelism")?.unwrap_or(usual.parallelism),
        delay: fields.duration("delay")?.unwrap_or(usual.delay),
        failure_action: fields
            .word("failure_action", &actions)?
            .unwrap_or(usual.failure_action),
        // Docker takes zero for the default.
        monitor: fields
            .duration("monitor")?
            .filter(|monitor| !monitor.is_zero())
            .unwrap_or(usual.monitor),
        max_failure_millionths: fields
            .read("max_failure_ratio", unit::share)?
            .unwrap_or(usual.max_failure_millionths),
        order: fields.word("order", &orders)?.unwrap_or(usual.order),
        progress_deadline: usual.progress_deadline,
    })
}

fn restart(fields: &Fields<'_>, task: &mut TaskSpec) -> Result<(), Trouble> {
    let policy = &mut task.restart;
    let conditions = [
        ("none", RestartCondition::None),
        ("on-failure", RestartCondition::OnFailure),
        ("any", RestartCondition::Any),
    ];
    if let Some(condition) = fields.word("condition", &conditions)? {
        policy.condition = condition;
    }
    if let Some(delay) = fields.duration("delay")? {
        policy.delay = delay;
    }
    if let Some(window) = fields.duration("window")? {
        policy.window = window;
    }
    if let Some(most) = fields.number::<u32>("max_attempts")? {
        policy.max_attempts = Some(most).filter(|most| *most > 0);
    }
    Ok(())
}

fn resources(fields: &Fields<'_>, task: &mut TaskSpec) -> Result<(), Trouble> {
    if let Some(limits) = fields.below("limits")? {
        let (cpus, memory) = (limits.cpus("cpus")?, limits.bytes("memory")?);
        task.limits.nano_cpus = cpus.or(task.limits.nano_cpus).filter(|cpus| *cpus > 0);
        task.limits.memory = memory.or(task.limits.memory).filter(|bytes| *bytes > 0);
        if let Some(pids) = limits.number::<i64>("pids")? {
            task.limits.pids = u64::try_from(pids).ok().filter(|pids| *pids > 0);
        }
    }
    if let Some(reserved) = fields.below("reservations")? {
        if let Some(cpus) = reserved.cpus("cpus")? {
            task.reservations.nano_cpus = cpus;
        }
        if let Some(memory) = reserved.bytes("memory")? {
            task.reservations.memory = memory;
        }
        task.generic = generic(&reserved)?;
    }
    Ok(())
}

fn generic(reserved: &Fields<'_>) -> Result<BTreeMap<String, u64>, Trouble> {
    let mut found = BTreeMap::new();
    for item in reserved.items("generic_resources")? {
        let Some(discrete) = item.below("discrete_resource_spec")? else {
            return Err(item.wrong("discrete_resource_spec is missing"));
        };
        let kind = discrete.needed("kind")?.to_owned();
        let value = discrete.number("value")?;
        let value = value.ok_or_else(|| discrete.wrong("value is missing"))?;
        if found.insert(kind.clone(), value).is_some() {
            return Err(discrete.wrong(format!("\"{kind}\" is reserved twice")));
        }
    }
    Ok(found)
}

fn placement(fields: &Fields<'_>, task: &mut TaskSpec) -> Result<(), Trouble> {
    task.constraints = fields.each("constraints", |text| {
        let read: Result<Constraint, _> = text.parse();
        read.map_err(|error| error.to_string())
    })?;
    for item in fields.items("preferences")? {
        let spread = item.read("spread", |text| {
            // The key is what stands before an operator in a constraint.
            let read: Result<Constraint, _> = format!("{text}==any").parse();
            read.map(|constraint| constraint.key)
                .map_err(|_| format!("\"{text}\" is not a key such as node.labels.zone"))
        })?;
        let spread: Key = spread.ok_or_else(|| item.wrong("spread is missing"))?;
        task.spread.push(spread);
    }
    let most: Option<u32> = fields.number("max_replicas_per_node")?;
    task.max_per_node = most.filter(|most| *most > 0);
    Ok(())
}
