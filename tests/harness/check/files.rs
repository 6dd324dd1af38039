//! Checks of secrets and configs.

use std::collections::{BTreeMap, BTreeSet};

use skep_manager::state::{State, uses};
use skep_proto::file::FileId;
use skep_proto::ids::{NodeId, TaskId};
use skep_proto::task::{Task, TaskState};

use super::Check;

/// What a task needs, by its own spec.
fn needs(state: &State, task: &Task, file: FileId) -> bool {
    let spec = state.template(task.service, task.template);
    let to_run = task.desired <= TaskState::Running && !task.status.state.ended();
    to_run && spec.is_some_and(|spec| uses(spec).any(|(used, _)| used == file))
}

/// 15. No secret or config reaches a node without a task that needs it.
///
/// # Errors
/// Names the file.
pub fn no_secret_reaches_a_node_without_need(
    state: &State,
    node: NodeId,
    sent: &BTreeSet<(FileId, u64)>,
) -> Check {
    for (file, revision) in sent {
        let mut tasks = state.tasks().filter(|task| task.node == Some(node));
        if !tasks.any(|task| needs(state, task, *file)) {
            return Err(format!(
                "revision {revision} of {file:?} is sent to node {node}, where nothing needs it"
            ));
        }
    }
    Ok(())
}

/// 15. After faults end, every container shows the revisions that its task is to have.
///
/// # Errors
/// Names the task.
pub fn what_runs_has_its_files(
    state: &State,
    shown: &BTreeMap<TaskId, BTreeMap<FileId, u64>>,
) -> Check {
    for (id, files) in shown {
        let task = state
            .task(*id)
            .filter(|task| task.desired == TaskState::Running);
        let spec = task.and_then(|task| state.template(task.service, task.template));
        let given = spec.map(|spec| state.given(spec)).unwrap_or_default();
        let given: BTreeMap<FileId, u64> = given.iter().map(|it| (it.file, it.revision)).collect();
        if task.is_some() && given != *files {
            return Err(format!("task {id} shows {files:?} instead of {given:?}"));
        }
    }
    Ok(())
}

/// 15. After faults end, an old content is kept only while a task has it, or may be made with it.
///
/// # Errors
/// Names it.
pub fn old_contents_are_gone(state: &State) -> Check {
    for file in state.files() {
        for (revision, _) in state.contents_of(file.id) {
            if revision != file.newest() && !state.content_used(file.id, revision) {
                return Err(format!(
                    "revision {revision} of {:?} is still kept",
                    file.id
                ));
            }
        }
        if state.content(file.id, file.newest()).is_none() {
            return Err(format!("{:?} has no content", file.id));
        }
    }
    Ok(())
}
