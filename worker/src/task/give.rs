//! Gives a container its secrets and configs, at first and when they were rotated.

use skep_netd::Kernel;
use skep_proto::assignment::AssignedTask;
use skep_proto::file::FileId;
use skep_proto::spec::FileUse;

use super::{Contents, Driver, Order};
use crate::exec::{Exec, ExecError, GivenFile};
use crate::report::with_causes;
use crate::step::{Local, Stage, signals, ungiven};

impl<E: Exec, K: Kernel> Driver<E, K> {
    pub(super) async fn give(&mut self, order: &Order) {
        let files = given(&order.task, &order.contents, &self.local);
        let running = matches!(self.local.stage, Stage::Running { .. });
        if let Err(error) = self.tools.exec.give(self.id, files).await {
            return self.not_given(&error).await;
        }
        if running {
            for signal in signals(&order.task, &self.local) {
                tracing::info!(task.id = %self.id, signal, "a rotated secret or config comes with a signal");
                let sent = self.tools.exec.signal(self.id, Some(signal)).await;
                self.warn("cannot send the signal of a rotation", sent);
            }
        }
        let files = order.task.files.iter();
        self.local.files = files.map(|it| (it.file, it.revision)).collect();
        // A later daemon is to know what is shown: it neither repeats the signal nor forgets it.
        self.keep().await;
    }

    /// What runs goes on with what it has until it works.
    async fn not_given(&mut self, error: &ExecError) {
        if matches!(self.local.stage, Stage::Running { .. }) {
            tracing::warn!(
                task.id = %self.id,
                error = with_causes(error),
                "a rotated secret or config is not shown yet"
            );
            return self.pause().await;
        }
        self.could_not_begin(error).await;
    }
}

/// What its container does not show as it is to, each use of it.
fn given(task: &AssignedTask, contents: &Contents, local: &Local) -> Vec<GivenFile> {
    let container = &task.spec.container;
    let mut files = Vec::new();
    for wanted in ungiven(task, local) {
        let Some(content) = contents.get(&(wanted.file, wanted.revision)) else {
            continue;
        };
        let secrets = container.secrets.iter().map(|used| whose(used, used.id));
        let configs = container.configs.iter().map(|used| whose(used, used.id));
        let uses = secrets.chain(configs).filter(|(id, _)| *id == wanted.file);
        files.extend(uses.map(|(id, shown)| GivenFile {
            target: shown.target,
            content: content.clone(),
            kind: id.kind(),
            uid: shown.uid,
            gid: shown.gid,
            mode: shown.mode,
        }));
    }
    files
}

/// A use, whatever the type of its id.
struct Shown {
    target: String,
    uid: u32,
    gid: u32,
    mode: u32,
}

fn whose<I>(used: &FileUse<I>, id: impl Into<FileId>) -> (FileId, Shown) {
    let shown = Shown {
        target: used.target.clone(),
        uid: used.uid,
        gid: used.gid,
        mode: used.mode,
    };
    (id.into(), shown)
}
