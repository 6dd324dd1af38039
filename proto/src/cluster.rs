//! What a cluster keeps of itself.

use std::fmt;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::ids::ClusterId;
use crate::time::WallTime;

/// The cluster as it keeps itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Random; O in every certificate.
    pub id: ClusterId,
    /// Log index of the last change.
    pub version: u64,
    /// When it was made.
    pub created: WallTime,
    /// Settings.
    pub spec: ClusterSpec,
    /// The root that all its certificates lead to.
    pub authority: Authority,
    /// Secrets of the join tokens.
    pub tokens: JoinSecrets,
    /// Raised by an entry when all managers know the level.
    pub feature_level: u32,
    /// Raised when the cluster is restored or forced: workers refuse an older one.
    pub incarnation: u64,
}

/// Settings of a cluster, with Docker's names where it has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSpec {
    /// A worker lets hear of itself so often; the default is 0.5 s.
    pub heartbeat: Duration,
    /// A node that was silent for so long is down; the default is 3 s.
    pub down_after: Duration,
    /// A node that was down for so long has its tasks orphaned; the default is 24 h.
    pub orphan_after: Duration,
    /// Ended tasks kept for each slot; the default is 5.
    pub task_history: u32,
    /// Node certificates last so long; the default is 90 days.
    pub certificate_expiry: Duration,
    /// Where ranges of new networks are cut from; the default is 10.0.0.0/8.
    pub pool: Ipv4Net,
    /// Prefix length of what is cut; the default is 24.
    pub pool_prefix: u8,
    /// UDP port of VXLAN; the default is 4789.
    pub data_path_port: u16,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            down_after: Duration::from_secs(3),
            orphan_after: Duration::from_secs(24 * 60 * 60),
            task_history: 5,
            certificate_expiry: Duration::from_secs(90 * 24 * 60 * 60),
            pool: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 0, 0, 0), 8),
            pool_prefix: 24,
            data_path_port: 4789,
        }
    }
}

/// The cluster's certificate authority.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// Root certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS #8 DER.
    pub key: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority { key: (not shown) }")
    }
}

/// What a node must know to join in a role; 16 random bytes each.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecrets {
    /// To join as a worker.
    pub worker: [u8; 16],
    /// To join as a manager.
    pub manager: [u8; 16],
}

impl fmt::Debug for JoinSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecrets { (not shown) }")
    }
}
