//! What netd remembers of each attached task, on disk beside the pinned namespaces.
//!
//! It lies where a restart of the machine empties it, as that ends the namespaces too. It says what was attached, never
//! what should be.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use skep_proto::ids::{NetworkId, TaskId};

use crate::error::NetError;

/// One attached task.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Record {
    /// Of this form; a daemon leaves a newer one alone.
    version: u32,
    pub(crate) plugs: Vec<PlugRecord>,
    /// Its address on the node's bridge.
    pub(crate) way_out: Option<Ipv4Addr>,
    /// Whether names may be asked outside.
    pub(crate) outside: bool,
    pub(crate) ports: Vec<PortRecord>,
    /// Asked for names that the cluster does not know, instead of the node's resolvers.
    #[serde(default)]
    pub(crate) servers: Vec<IpAddr>,
}

/// One interface on an overlay network.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct PlugRecord {
    #[serde(with = "id")]
    pub(crate) network: NetworkId,
    pub(crate) address: Ipv4Net,
    pub(crate) device: String,
    pub(crate) ingress: bool,
}

/// One port published on this node alone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct PortRecord {
    pub(crate) udp: bool,
    pub(crate) published: u16,
    pub(crate) target: u16,
}

mod id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use skep_proto::ids::NetworkId;

    pub(super) fn serialize<S: Serializer>(id: &NetworkId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NetworkId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

const VERSION: u32 = 1;
const SUFFIX: &str = "json";

impl Record {
    pub(crate) fn new(plugs: Vec<PlugRecord>, outside: bool, ports: Vec<PortRecord>) -> Self {
        Self {
            version: VERSION,
            plugs,
            way_out: None,
            outside,
            ports,
            servers: Vec::new(),
        }
    }

    /// The networks whose names it may ask.
    pub(crate) fn scope(&self) -> Vec<NetworkId> {
        self.plugs
            .iter()
            .filter(|plug| !plug.ingress)
            .map(|plug| plug.network)
            .collect()
    }

    /// Its interface on the ingress network.
    pub(crate) fn ingress(&self) -> Option<&PlugRecord> {
        self.plugs.iter().find(|plug| plug.ingress)
    }
}

fn path(dir: &Path, task: TaskId) -> PathBuf {
    dir.join(format!("{task}.{SUFFIX}"))
}

/// Every record in a directory, which is made if it is missing.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<(TaskId, Record)>, NetError> {
    let failed = |act, source| NetError::Record {
        act,
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(|error| failed("make", error))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| failed("list", error))? {
        let path = entry.map_err(|error| failed("list", error))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let task = name
            .and_then(|name| name.strip_suffix(".json"))
            .and_then(|id| id.parse().ok());
        let Some(task) = task else { continue };
        let bytes = fs::read(&path).map_err(|error| failed("read", error))?;
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.version == VERSION => found.push((task, record)),
            Ok(_) => tracing::warn!(task.id = %task, "its record is of a newer skep; left alone"),
            // A crash between creating and writing; its attach was never answered.
            Err(error) => tracing::warn!(task.id = %task, %error, "its record cannot be read"),
        }
    }
    Ok(found)
}

/// Writes a record whole or not at all.
pub(crate) fn store(dir: &Path, task: TaskId, record: &Record) -> Result<(), NetError> {
    let path = path(dir, task);
    let write = || -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        fs::rename(&fresh, &path)
    };
    write().map_err(|source| NetError::Record {
        act: "write",
        path: path.clone(),
        source,
    })
}

/// Forgets a record; one that is not there is forgotten already.
pub(crate) fn remove(dir: &Path, task: TaskId) -> Result<(), NetError> {
    let path = path(dir, task);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(NetError::Record {
            act: "remove",
            path,
            source: error,
        }),
        _ => Ok(()),
    }
}
