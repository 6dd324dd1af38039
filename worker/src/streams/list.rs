//! What containers there are, and what can be done to one.

use std::time::UNIX_EPOCH;

use skep_proto::wire::v1;
use skep_proto::wire::v1::container_act_request::What;

use crate::exec::containers::NAME;
use crate::exec::runtime::{Container, State};
use crate::report::with_causes;

/// All, newest first.
pub(super) async fn entries(containers: Vec<Container>) -> Vec<v1::ContainerEntry> {
    let mut entries = Vec::with_capacity(containers.len());
    for container in containers {
        entries.push(entry(&container).await);
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.created_ms));
    entries
}

/// Its name, or its id where it has none.
pub(super) fn name(container: &Container) -> String {
    let name = container.labels().get(NAME);
    name.map_or_else(|| container.id().to_owned(), Clone::clone)
}

async fn entry(container: &Container) -> v1::ContainerEntry {
    let ended = container.ended();
    let state = match &ended {
        Some(_) => v1::ContainerState::Exited,
        None if container.group().is_frozen() => v1::ContainerState::Paused,
        None => match container.state().await {
            Ok(State::Created) => v1::ContainerState::Created,
            Ok(State::Ended(_)) => v1::ContainerState::Exited,
            Ok(State::Running) | Err(_) => v1::ContainerState::Running,
        },
    };
    let at = |ended: &crate::exec::runtime::Ended| {
        let since = ended.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    v1::ContainerEntry {
        id: container.id().to_owned(),
        name: name(container),
        labels: container.labels().clone(),
        state: state.into(),
        created_ms: container.created_ms(),
        pid: container.pid().filter(|_| ended.is_none()),
        exit_code: ended.as_ref().map(|ended| ended.code),
        ended_ms: ended.as_ref().map_or(0, at),
        reason: ended.and_then(|ended| ended.reason).unwrap_or_default(),
        image: container
            .labels()
            .get("skep.image")
            .cloned()
            .unwrap_or_default(),
        command: container.command().to_vec(),
        log_path: container.log_path().display().to_string(),
    }
}

/// Does one thing to a container; the reason if it cannot be done.
pub(super) async fn act(container: &Container, what: &What) -> Result<(), String> {
    if container.ended().is_some() {
        return Err("the container has ended".into());
    }
    let group = container.group().clone();
    let frozen = match what {
        What::Signal(signal) => {
            let sent = container.kill(*signal).await;
            return sent.map_err(|error| with_causes(&error));
        }
        What::Pause(_) if group.is_frozen() => return Err("the container is paused already".into()),
        What::Unpause(_) if !group.is_frozen() => return Err("the container is not paused".into()),
        What::Pause(_) => true,
        What::Unpause(_) => false,
    };
    let set = tokio::task::spawn_blocking(move || group.set_frozen(frozen)).await;
    let set = set.map_err(|_| "the daemon is ending".to_owned())?;
    set.map_err(|error| with_causes(&error))
}
