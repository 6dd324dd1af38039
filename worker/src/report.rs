//! What this node has to say: kept until managers have committed it.
//!
//! Only the last status of a task is kept, so a slow manager makes no queue. One report is under way at a
//! time; what happens meanwhile goes into the next.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skep_proto::assignment::Report;
use skep_proto::ids::{NetworkId, TaskId};
use skep_proto::image::Digest;
use skep_proto::spec::Protocol;
use skep_proto::task::TaskStatus;
use tokio::sync::Notify;

/// The most statuses of one report.
const MAX_TASKS: usize = 1000;

/// An error and all that caused it, for a person.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The place where news wait for a session.
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    tasks: Told<TaskId, TaskStatus>,
    networks: Told<NetworkId, u64>,
    images: Vec<Digest>,
    images_told: Option<Vec<Digest>>,
    /// Nothing before they were looked at.
    volumes: Option<Vec<String>>,
    volumes_told: Option<Vec<String>>,
    taken_ports: Vec<(Protocol, u16)>,
    taken_told: Vec<(Protocol, u16)>,
    under_way: Option<Report>,
}

/// What is true, and what managers have committed of it.
#[derive(Debug)]
struct Told<K, V> {
    now: BTreeMap<K, V>,
    told: BTreeMap<K, V>,
}

impl<K, V> Default for Told<K, V> {
    fn default() -> Self {
        Self {
            now: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Copy, V: PartialEq + Clone> Told<K, V> {
    fn news(&self, bound: usize) -> Vec<(K, V)> {
        let untold = self
            .now
            .iter()
            .filter(|(key, value)| self.told.get(key) != Some(value));
        untold
            .take(bound)
            .map(|(key, value)| (*key, value.clone()))
            .collect()
    }

    fn committed(&mut self, report: Vec<(K, V)>) {
        for (key, value) in report {
            if self.now.contains_key(&key) {
                self.told.insert(key, value);
            }
        }
    }
}

impl Outbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of a task.
    pub fn task(&self, task: TaskId, status: TaskStatus) {
        self.inner().tasks.now.insert(task, status);
        self.news.notify_one();
    }

    /// Managers no longer ask about a task.
    pub fn forget(&self, task: TaskId) {
        let mut inner = self.inner();
        inner.tasks.now.remove(&task);
        inner.tasks.told.remove(&task);
    }

    /// Revisions of networks that are programmed, all of them.
    pub fn networks(&self, revisions: impl IntoIterator<Item = (NetworkId, u64)>) {
        let now: BTreeMap<_, _> = revisions.into_iter().collect();
        let mut inner = self.inner();
        inner
            .networks
            .told
            .retain(|network, _| now.contains_key(network));
        inner.networks.now = now;
        drop(inner);
        self.news.notify_one();
    }

    /// Manifests of the images that are here whole.
    pub fn images(&self, images: Vec<Digest>) {
        self.inner().images = images;
        self.news.notify_one();
    }

    /// Names of the volumes that are here.
    pub fn volumes(&self, volumes: Vec<String>) {
        self.inner().volumes = Some(volumes);
        self.news.notify_one();
    }

    /// Published ports that another program on this node holds.
    pub fn taken_ports(&self, ports: Vec<(Protocol, u16)>) {
        self.inner().taken_ports = ports;
        self.news.notify_one();
    }

    /// A new session begins, and its Hello tells of these images. What was under way was perhaps not
    /// committed; what only a leader's memory held is to be said again.
    pub fn begin(&self, images: Vec<Digest>) {
        let mut inner = self.inner();
        inner.under_way = None;
        inner.networks.told.clear();
        inner.images = images.clone();
        inner.images_told = Some(images);
        inner.taken_told.clear();
        drop(inner);
        self.news.notify_one();
    }

    /// The next report, unless one is under way or there is nothing new.
    pub fn next(&self) -> Option<Report> {
        let mut inner = self.inner();
        if inner.under_way.is_some() {
            return None;
        }
        let images =
            (inner.images_told.as_ref() != Some(&inner.images)).then(|| inner.images.clone());
        let taken_ports =
            (inner.taken_told != inner.taken_ports).then(|| inner.taken_ports.clone());
        // Managers keep them durably, so what is committed is not said again in each session.
        let volumes = inner.volumes.clone();
        let volumes = volumes.filter(|now| inner.volumes_told.as_ref() != Some(now));
        let report = Report {
            volumes,
            taken_ports,
            tasks: inner.tasks.news(MAX_TASKS),
            networks: inner.networks.news(usize::MAX),
            images,
        };
        if report == Report::default() {
            return None;
        }
        inner.under_way = Some(report.clone());
        Some(report)
    }

    /// The report under way is committed.
    pub fn committed(&self) {
        let mut inner = self.inner();
        if let Some(report) = inner.under_way.take() {
            inner.tasks.committed(report.tasks);
            inner.networks.committed(report.networks);
            if report.images.is_some() {
                inner.images_told = report.images;
            }
            if report.volumes.is_some() {
                inner.volumes_told = report.volumes;
            }
            if let Some(ports) = report.taken_ports {
                inner.taken_told = ports;
            }
        }
        drop(inner);
        // There may have been more than one report holds.
        self.news.notify_one();
    }

    /// Waits until there may be news. May be dropped.
    pub async fn wait(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
