//! Commands about services.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::ids::{RequestId, ServiceId};
use skep_proto::service::{PortBinding, Service};
use skep_proto::spec::ServiceSpec;
use skep_proto::validate;
use tonic::Status;

use super::images::ImageWish;
use super::{Control, files, refuse, resolve};
use crate::plan::{Author, first_revision};
use crate::state::{Answer, Change, State};

impl Control {
    /// Makes a service. A repeat of the request gets the same id.
    pub(super) async fn create(
        &self,
        request: RequestId,
        mut spec: ServiceSpec,
        image: ImageWish,
        author: Author,
    ) -> Result<ServiceId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        files::pin(&state, &mut spec, None)?;
        checked(&state, &spec)?;
        self.resolve_image(&state, &mut spec, &image).await?;
        let spec = Arc::new(spec);
        let id = ServiceId::new(rand::random());
        let service = Service {
            id,
            version: 0,
            created: author.at,
            updated: author.at,
            revision: 1,
            template: 1,
            templates: BTreeMap::from([(1, Arc::new(spec.task.clone()))]),
            vips: BTreeMap::new(),
            ports: named_ports(&spec),
            removed: None,
            auth: image.auth.map(Arc::new),
            history: vec![first_revision(&spec, author)],
            update: None,
            spec,
        };
        let changes = vec![Change::PutService(Arc::new(service))];
        self.commit(request, Answer::Service(id), changes).await?;
        self.answer_of(request).await
    }

    /// Removes a service; its tasks end, then it goes.
    pub(super) async fn remove(
        &self,
        request: RequestId,
        reference: &str,
    ) -> Result<ServiceId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let old = resolve::service(&state, reference)?;
        let new = Service {
            removed: Some(self.ring.now()),
            ..Service::clone(&old)
        };
        let changes = vec![Change::PutService(Arc::new(new))];
        self.commit(request, Answer::Service(old.id), changes)
            .await?;
        Ok(old.id)
    }

    async fn answer_of(&self, request: RequestId) -> Result<ServiceId, Status> {
        // Of two repeats that raced, both get what the first one made.
        answered(&self.ring.stale(), request)?
            .ok_or_else(|| Status::unavailable("the answer is not known here yet; repeat"))
    }
}

pub(super) fn answered(state: &State, request: RequestId) -> Result<Option<ServiceId>, Status> {
    match state.answered(request).map(|answered| &answered.answer) {
        None => Ok(None),
        Some(Answer::Service(id)) => Ok(Some(*id)),
        Some(_) => Err(Status::invalid_argument(
            "the request id was used for another command",
        )),
    }
}

/// The first thing that is wrong with a new service.
fn checked(state: &State, spec: &ServiceSpec) -> Result<(), Status> {
    fitting(state, spec)?;
    if state.service_named(&spec.name).is_some() {
        return Err(Status::already_exists(format!(
            "a service called \"{0}\" exists already; choose another --name, or remove it with: \
             skep service rm {0}",
            spec.name
        )));
    }
    Ok(())
}

/// The first thing that is wrong with a spec, whoever else bears its name.
pub(super) fn fitting(state: &State, spec: &ServiceSpec) -> Result<(), Status> {
    validate::service(spec).map_err(|error| refuse::invalid(&error))?;
    patient_enough(state, spec)?;
    for used in &spec.task.networks {
        let Some(network) = state.network(used.network) else {
            return Err(Status::not_found(format!(
                "network {} does not exist; see what there is with: skep network ls",
                used.network
            )));
        };
        if network.spec.ingress {
            return Err(Status::invalid_argument(
                "--network: the ingress network is used by --publish and cannot be named",
            ));
        }
    }
    Ok(())
}

/// A node is not known to be silent before it is down: no service can lose its tasks earlier.
fn patient_enough(state: &State, spec: &ServiceSpec) -> Result<(), Status> {
    let least = state.cluster().map(|cluster| cluster.spec.down_after);
    match (spec.lost_after, least) {
        (Some(wanted), Some(least)) if wanted < least => Err(Status::invalid_argument(format!(
            "--lost-after: {wanted:?} is less than {least:?}, after which the cluster takes a node for down; \
             use more, or lower that first: skep swarm update --down-after"
        ))),
        _ => Ok(()),
    }
}

/// The ports the user named; a manager gives the others.
fn named_ports(spec: &ServiceSpec) -> Vec<PortBinding> {
    let named = spec.ports.iter().filter_map(|port| {
        Some(PortBinding {
            protocol: port.protocol,
            target: port.target,
            published: port.published?,
            mode: port.mode,
        })
    });
    named.collect()
}
