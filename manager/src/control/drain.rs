//! Drains a node without a gap: what runs there is ended only once its replacement runs.

use std::sync::Arc;
use std::time::Instant;

use skep_proto::ids::{NodeId, RequestId};
use skep_proto::node::{Availability, Node};
use tonic::Status;

use super::{Control, resolve};
use crate::plan::drain::left_without_place;
use crate::state::{Answer, Change, State};

/// Tasks without a place that a refusal names.
const NAMED: usize = 3;

impl Control {
    /// Begins to drain a node. It is refused where tasks would be left without a place, unless `force`: then
    /// all of them end at once.
    pub(super) async fn drain_nod(
        &self,
        request: RequestId,
        reference: &str,
        force: bool,
    ) -> Result<NodeId, Status> {
        let state = self.read().await?;
        let old = resolve::node(&state, reference)?;
        if state.answered(request).is_some() {
            return Ok(old.id);
        }
        let availability = if force {
            Availability::Drain
        } else {
            Availability::Surge
        };
        if old.spec.availability == availability
            || (!force && old.spec.availability == Availability::Drain)
        {
            return Ok(old.id);
        }
        if !force {
            self.all_find_a_place(&state, &old)?;
        }
        let mut new = Node::clone(&old);
        new.spec.availability = availability;
        let changes = vec![Change::PutNode(Arc::new(new))];
        self.commit(request, Answer::Node(old.id), changes).await?;
        Ok(old.id)
    }

    fn all_find_a_place(&self, state: &State, node: &Node) -> Result<(), Status> {
        let seen = self.live.seen(Instant::now(), state.meta().looked);
        let left = left_without_place(state, &seen, self.ring.now(), node.id);
        let Some((_, why)) = left.first() else {
            return Ok(());
        };
        let names: Vec<&str> = left.iter().take(NAMED).map(|it| it.0.as_str()).collect();
        let more = match left.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(Status::failed_precondition(format!(
            "node {} is not drained: {}{more} would find no other place, {why}; make room, or use --force to \
             end them all the same",
            node.description.hostname,
            names.join(", ")
        )))
    }
}
