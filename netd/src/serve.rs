//! Serves containers and the node: names, virtual addresses and published ports, by what was programmed before.
//!
//! What fails is forgotten as programmed, so that the next view writes it whole.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use skep_proto::ids::{NetworkId, TaskId};
use skep_proto::view::View;

use crate::backing::{self, Backing};
use crate::error::NetError;
use crate::kernel::{Kernel, KernelError};
use crate::names::{Ns, task_ns};
use crate::nft::Edit;
use crate::reconcile::{Attached, Inner, Netd};
use crate::rules::{self, Balance, ContainerRules, NodeRules, Programmed};
use crate::step::Step;

/// Containers whose rules are changed at once: each waits for the kernel a little.
const AT_ONCE: usize = 8;

impl<K: Kernel> Netd<K> {
    /// The names and rules of all containers; what failed, with the networks it concerns.
    pub(crate) async fn serve_tasks(
        &self,
        inner: &mut Inner,
        view: &View,
    ) -> Vec<(Vec<NetworkId>, NetError)> {
        let mut served = Vec::with_capacity(inner.tasks.len());
        for (task, attached) in &mut inner.tasks {
            served.push(self.serve_one(*task, attached, view));
        }
        let done: Vec<_> = stream::iter(served)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        done.into_iter().flatten().collect()
    }

    async fn serve_one(
        &self,
        task: TaskId,
        attached: &mut Attached,
        view: &View,
    ) -> Option<(Vec<NetworkId>, NetError)> {
        let error = self.serve_task(task, attached, view).await.err()?;
        Some((
            attached
                .record
                .plugs
                .iter()
                .map(|plug| plug.network)
                .collect(),
            error,
        ))
    }

    /// The names and rules of one container.
    pub(crate) async fn serve_task(
        &self,
        task: TaskId,
        attached: &mut Attached,
        view: &View,
    ) -> Result<(), NetError> {
        self.try_serve_task(task, attached, view)
            .await
            .map_err(|source| NetError::Services { task, source })
    }

    async fn try_serve_task(
        &self,
        task: TaskId,
        attached: &mut Attached,
        view: &View,
    ) -> Result<(), KernelError> {
        let ns = task_ns(&task.to_string());
        let scope = attached.record.scope();
        let next = backing::of_networks(view, &scope);
        if attached.resolver.is_none() {
            let forwarder = attached.record.outside.then(|| Arc::clone(&self.forwarder));
            let (kernel, directory) = (self.kernel.as_ref(), self.directory.subscribe());
            let servers = attached.record.servers.clone();
            attached.resolver =
                crate::dns::serve(kernel, &ns, scope, directory, forwarder, servers).await?;
        }
        let had = attached.programmed.take();
        if had.as_ref().is_some_and(|(_, before)| *before == next) {
            attached.programmed = had;
            return Ok(());
        }
        let rules = ContainerRules {
            resolver: attached.resolver.as_ref().map(|resolver| resolver.ports),
            ingress: attached.record.ingress().map(|plug| plug.device.as_str()),
        };
        let whole = || rules::container(rules, &next.balanced);
        let programmed = self
            .program_table(&ns, had.as_ref(), &next, Balance::Vip, whole)
            .await?;
        attached.programmed = Some((programmed, next));
        Ok(())
    }

    /// Changes a table by what differs, or writes it whole if it is not known or not as it was left; then forgets the
    /// connections that lead nowhere.
    async fn program_table<W: Fn() -> Vec<Edit>>(
        &self,
        ns: &Ns,
        had: Option<&(Programmed, Backing)>,
        next: &Backing,
        balance: Balance,
        whole: W,
    ) -> Result<Programmed, KernelError> {
        let changed = match had {
            None => None,
            Some((had, _)) => {
                let (edits, programmed) = had.change(next.balanced.clone(), balance);
                let steps = if edits.is_empty() {
                    Vec::new()
                } else {
                    vec![Step::Rules(edits)]
                };
                match self.kernel.run(ns, steps).await {
                    Ok(()) => Some(programmed),
                    Err(error) => {
                        let cause = error.source;
                        tracing::warn!(%ns, %cause, "rules are not as they were left; written anew");
                        None
                    }
                }
            }
        };
        let programmed = match changed {
            Some(programmed) => programmed,
            None => {
                self.kernel.run(ns, vec![Step::Rules(whole())]).await?;
                Programmed::whole(next.balanced.clone())
            }
        };
        let gone = had
            .map(|(_, before)| next.gone_since(before))
            .unwrap_or_default();
        if !gone.is_empty() {
            self.kernel.forget(ns, gone).await?;
        }
        Ok(programmed)
    }

    /// The node's own table: way out, gateway and published ports.
    pub(crate) async fn program_node(
        &self,
        inner: &mut Inner,
        view: &View,
    ) -> Result<(), NetError> {
        let failed = |source| NetError::NodeRules { source };
        let ingress = inner.gateway.as_ref().and_then(|(_, id)| {
            view.networks
                .iter()
                .find(|network| network.id == *id)
                .map(|network| network.subnet)
        });
        let rules = NodeRules {
            way_out: inner.way_out,
            ingress,
        };
        let mut next = backing::of_ports(view);
        crate::publish::add_local(&mut next, &inner.tasks);
        if inner.node.is_none() && rules == NodeRules::default() && next == Backing::default() {
            return Ok(());
        }
        let had = inner
            .node
            .take()
            .filter(|(had, _)| *had == rules)
            .map(|(_, had)| had);
        let whole = || rules::node(rules, &next.balanced);
        let programmed = self
            .program_table(&Ns::Host, had.as_ref(), &next, Balance::Port, whole)
            .await;
        inner.node = Some((rules, (programmed.map_err(failed)?, next)));
        Ok(())
    }
}
