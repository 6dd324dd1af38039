//! The one writer. Pure.
//!
//! `apply` takes any entry, in any order, and never panics: what does not fit is dropped with a reason.
//! Submodules check and write one kind of object each; indexes are kept by `index`.

mod drill;
mod file;
mod network;
mod node;
mod service;
mod task;
mod token;

use std::sync::Arc;

use skep_proto::cluster::Cluster;
use skep_proto::ids::NetworkId;
use skep_proto::image::Image;
use skep_proto::time::ClusterTime;

use super::{Answered, Change, Dropped, Entry, Mark, Misfit, Outcome, REQUESTS_KEPT, State};

impl State {
    /// Applies the entry at `index` of the log. Replicas that do so for the same log are equal.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Outcome {
        self.meta.index = self.meta.index.max(index);
        self.meta.time = self.meta.time.max(entry.time);
        self.forget_requests();
        if let Some(first) = entry.request.and_then(|id| self.requests.get(&id)) {
            return Outcome {
                index,
                dropped: Vec::new(),
                repeated: Some(first.answer.clone()),
            };
        }
        self.note_looked(entry.looked);
        let before = entry.atomic.then(|| self.clone());
        let dropped = self.apply_all(entry);
        if let Some(before) = before.filter(|_| !dropped.is_empty()) {
            *self = before;
        } else if let Some(id) = entry.request {
            let at = self.meta.time;
            self.index.requests.insert((at, id));
            self.requests.insert(
                id,
                Answered {
                    at,
                    index,
                    answer: entry.answer.clone(),
                },
            );
        }
        Outcome {
            index,
            dropped,
            repeated: None,
        }
    }

    fn apply_all(&mut self, entry: &Entry) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        for (position, change) in entry.changes.iter().enumerate() {
            let before = self.witness(change);
            if let Err(reason) = self.apply_one(change) {
                self.mark_subject(change);
                dropped.push(Dropped { position, reason });
            } else if let Some(before) = before {
                self.record(before, entry);
            }
        }
        dropped
    }

    /// Applies one change of a plan's draft, as part of the entry that will be at `index`.
    pub(crate) fn try_change(
        &mut self,
        index: u64,
        time: ClusterTime,
        change: &Change,
    ) -> Result<(), Misfit> {
        self.meta.index = self.meta.index.max(index);
        self.meta.time = self.meta.time.max(time);
        let done = self.apply_one(change);
        if done.is_err() {
            self.mark_subject(change);
        }
        done
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), Misfit> {
        match change {
            Change::PutCluster(cluster) => self.put_cluster(cluster),
            Change::PutNode(node) => self.put_node(node),
            Change::DeleteNode { node, version } => self.delete_node(*node, *version),
            Change::Turned { node, status } => self.turn_node(*node, status),
            Change::GaveIngress { node, address } => self.give_ingress(*node, *address),
            Change::PutService(service) => self.put_service(service),
            Change::Progressed {
                service,
                version,
                update,
            } => self.progress(*service, *version, update),
            Change::DeleteService { service, version } => self.delete_service(*service, *version),
            Change::PutTask(task) => self.put_task(task),
            Change::DeleteTask { task, version } => self.delete_task(*task, *version),
            Change::SetDesired { task, desired } => self.set_desired(*task, *desired),
            Change::Replaced { task, revision } => self.replaced(*task, *revision),
            Change::Observed { task, status } => self.observe(*task, status),
            Change::Drained { task } => self.drained(*task),
            Change::Released { task } => self.release(*task),
            Change::PutNetwork(network) => self.put_network(network),
            Change::DeleteNetwork { network, version } => self.delete_network(*network, *version),
            Change::PutFile { file, content } => self.put_file(file, content.as_ref()),
            Change::DeleteFile { file, version } => self.delete_file(*file, *version),
            Change::DropContent { file, revision } => self.drop_content(*file, *revision),
            Change::PutToken(stored) => self.put_token(stored),
            Change::DeleteToken { token, version } => self.delete_token(*token, *version),
            Change::PutDrill(drill) => self.put_drill(drill),
            Change::PutImage(image) => self.put_image(image),
            Change::DeleteImage { name } => self.delete_image(name),
        }
    }

    fn put_cluster(&mut self, cluster: &Arc<Cluster>) -> Result<(), Misfit> {
        let current = self.cluster.as_ref().map(|cluster| cluster.version);
        check_version(|| "the cluster".into(), cluster.version, current)?;
        let mut cluster = Cluster::clone(cluster);
        cluster.version = self.meta.index;
        self.cluster = Some(Arc::new(cluster));
        self.mark(Mark::Cluster);
        Ok(())
    }

    fn put_image(&mut self, image: &Arc<Image>) -> Result<(), Misfit> {
        self.images.insert(image.name.clone(), image.clone());
        Ok(())
    }

    fn delete_image(&mut self, name: &str) -> Result<(), Misfit> {
        let gone = self.images.remove(name);
        gone.map(drop).ok_or_else(|| Misfit::Missing {
            object: format!("image \"{name}\""),
        })
    }

    fn forget_requests(&mut self) {
        while let Some((at, id)) = self.index.requests.get_min().copied() {
            if self.meta.time.since(at) <= REQUESTS_KEPT {
                return;
            }
            self.index.requests.remove(&(at, id));
            self.requests.remove(&id);
        }
    }

    fn note_looked(&mut self, looked: Option<u64>) {
        let Some(looked) = looked.filter(|looked| *looked > self.meta.looked) else {
            return;
        };
        self.meta.looked = looked;
        let seen = self.marks.iter().filter(|(_, at)| **at <= looked);
        let seen: Vec<Mark> = seen.map(|(mark, _)| *mark).collect();
        for mark in seen {
            self.marks.remove(&mark);
        }
    }

    /// A plan has to look at `mark` again.
    fn mark(&mut self, mark: Mark) {
        self.marks.insert(mark, self.meta.index);
    }

    /// Something in the view of `network` changed.
    fn touch(&mut self, network: NetworkId) {
        if self.networks.contains_key(&network) {
            self.revisions.insert(network, self.meta.index);
        }
    }

    /// What a dropped change was about has to be looked at again: its plan counted on it.
    fn mark_subject(&mut self, change: &Change) {
        let of_task = |id| {
            self.tasks
                .get(id)
                .map(|task| Mark::Slot(task.service, task.slot))
        };
        let mark = match change {
            Change::PutCluster(_) => Some(Mark::Cluster),
            Change::PutNode(node) => Some(Mark::Node(node.id)),
            Change::DeleteNode { node, .. }
            | Change::Turned { node, .. }
            | Change::GaveIngress { node, .. } => Some(Mark::Node(*node)),
            Change::PutService(service) => Some(Mark::Service(service.id)),
            Change::DeleteService { service, .. } | Change::Progressed { service, .. } => {
                Some(Mark::Service(*service))
            }
            Change::PutTask(task) => Some(Mark::Slot(task.service, task.slot)),
            Change::DeleteTask { task, .. }
            | Change::SetDesired { task, .. }
            | Change::Replaced { task, .. }
            | Change::Observed { task, .. }
            | Change::Drained { task }
            | Change::Released { task } => of_task(task),
            Change::PutNetwork(network) => Some(Mark::Network(network.id)),
            Change::DeleteNetwork { network, .. } => Some(Mark::Network(*network)),
            Change::PutImage(_)
            | Change::DeleteImage { .. }
            | Change::PutToken(_)
            | Change::DeleteToken { .. }
            | Change::PutDrill(_)
            | Change::PutFile { .. }
            | Change::DeleteFile { .. }
            | Change::DropContent { .. } => None,
        };
        if let Some(mark) = mark {
            self.mark(mark);
        }
    }
}

/// Whether a change made from `made_from` (0: new) fits on what is there.
fn check_version(
    object: impl Fn() -> String,
    made_from: u64,
    current: Option<u64>,
) -> Result<(), Misfit> {
    match current {
        None if made_from == 0 => Ok(()),
        None => Err(Misfit::Missing { object: object() }),
        Some(current) if made_from == current => Ok(()),
        Some(_) if made_from == 0 => Err(Misfit::Exists { object: object() }),
        Some(current) => Err(Misfit::Stale {
            object: object(),
            made_from,
            current,
        }),
    }
}
