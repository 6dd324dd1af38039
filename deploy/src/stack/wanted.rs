//! What a stack asks of a cluster: specs that name networks, secrets and configs, not yet their ids. Pure.

use std::collections::BTreeMap;

use skep_proto::network::NetworkSpec;
use skep_proto::spec::{FileUse, ServiceSpec};

use super::place::Place;

/// The label that says to which stack something belongs.
pub const NAMESPACE: &str = "com.docker.stack.namespace";

/// All that a stack asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Name of the stack.
    pub stack: String,
    /// Networks that services are on.
    pub networks: Vec<NetworkWanted>,
    /// Secrets that services are given.
    pub secrets: Vec<FileWanted>,
    /// Configs that services are given.
    pub configs: Vec<FileWanted>,
    /// Services, each behind all it waits for.
    pub services: Vec<ServiceWanted>,
}

/// A network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkWanted {
    /// Where the file says so.
    pub at: Place,
    /// What it is to be; of one that must be there already only the name counts.
    pub spec: NetworkSpec,
    /// It must be there already and is not ours.
    pub external: bool,
}

/// A secret or config.
#[derive(Clone, PartialEq, Eq)]
pub struct FileWanted {
    /// Where the file says so.
    pub at: Place,
    /// Its name in the cluster.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its content; `None` is one that must be there already and is not ours.
    pub content: Option<Vec<u8>>,
}

impl std::fmt::Debug for FileWanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the content: it may be a secret.
        let bytes = self.content.as_ref().map(Vec::len);
        f.debug_struct("FileWanted")
            .field("at", &self.at)
            .field("name", &self.name)
            .field("labels", &self.labels)
            .field("bytes", &bytes)
            .finish()
    }
}

/// A service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceWanted {
    /// Where the file says so.
    pub at: Place,
    /// All but what follows; its networks, secrets and configs are empty.
    pub spec: ServiceSpec,
    /// Names of its networks in the cluster, with its aliases there.
    pub networks: Vec<(String, Vec<String>)>,
    /// Secrets by their name in the cluster.
    pub secrets: Vec<FileUse<String>>,
    /// Configs by their name in the cluster.
    pub configs: Vec<FileUse<String>>,
    /// What must be there before it.
    pub after: Vec<Dependency>,
}

/// What must be there before a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// Name of the service in the cluster.
    pub service: String,
    /// In which condition.
    pub condition: Condition,
}

/// In which condition a service counts as there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Its tasks have been started.
    Started,
    /// Its tasks run, and are well where they say how they are.
    Healthy,
    /// It is a job that has ended well.
    Completed,
}
