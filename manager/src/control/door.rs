//! Converts: messages in, answers out. The only file of this room, with `show`, that names generated types.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skep_proto::channel::JoinToken;
use skep_proto::ids::RequestId;
use skep_proto::image::{Image, RegistryAuth};
use skep_proto::network::NetworkSpec;
use skep_proto::node::{NodeSpec, NodeState, Role};
use skep_proto::spec::ServiceSpec;
use skep_proto::task::TaskState;
use skep_proto::wire::{self, WireError, WireId, v1};
use tonic::{Request, Response, Status};

use super::images::{ImageWish, ResolvedBy};
use super::rollout::{Asked, Run, Turn};
use super::settings::Settings;
use super::{Control, again, events, refuse, resolve, show, watch};
use crate::by;
use crate::plan::Author;
use crate::ring::wall_time;

type Answered<T> = Result<Response<T>, Status>;

fn request_id(bytes: &[u8]) -> Result<RequestId, Status> {
    wire::request_id(bytes).map_err(|error| refuse::malformed(&error))
}

fn spec<W, T>(message: Option<W>) -> Result<T, Status>
where
    T: TryFrom<W, Error = WireError>,
{
    wire::message(message, "spec").map_err(|error| refuse::malformed(&error))
}

/// How the user wants the image of a service found.
fn wish(auth: Option<v1::RegistryAuth>, no_resolve: bool) -> ImageWish {
    ImageWish {
        auth: auth.map(RegistryAuth::from),
        by: match no_resolve {
            true => ResolvedBy::Nodes,
            false => ResolvedBy::Manager,
        },
    }
}

fn stale(read: Option<v1::Read>) -> bool {
    read.is_some_and(|read| read.stale)
}

/// Who asks now.
fn author(by: String, why: String) -> Author {
    let (at, by) = (wall_time(), by::author(by));
    Author { by, why, at }
}

fn run(only_try: bool) -> Run {
    if only_try { Run::Try } else { Run::Change }
}

#[tonic::async_trait]
impl v1::control_server::Control for Control {
    type WatchServiceStream = watch::Pictures;
    type EventsStream = events::Told;

    async fn events(&self, request: Request<v1::EventsRequest>) -> Answered<events::Told> {
        let told = self.tell(request.into_inner()).await?;
        Ok(Response::new(told))
    }

    async fn create_service(
        &self,
        request: Request<v1::CreateServiceRequest>,
    ) -> Answered<v1::CreateServiceAnswer> {
        let message = request.into_inner();
        let spec: ServiceSpec = spec(message.spec)?;
        let image = wish(message.registry_auth, message.no_resolve_image);
        let author = author(message.by, message.why);
        let request = request_id(&message.request)?;
        let id = self.create(request, spec, image, author).await?;
        Ok(Response::new(v1::CreateServiceAnswer {
            id: id.to_bytes(),
            warnings: Vec::new(),
        }))
    }

    async fn update_service(
        &self,
        request: Request<v1::UpdateServiceRequest>,
    ) -> Answered<v1::UpdateServiceAnswer> {
        let message = request.into_inner();
        let spec: ServiceSpec = spec(message.spec)?;
        let image = wish(message.registry_auth, message.no_resolve_image);
        let asked = Asked {
            request: request_id(&message.request)?,
            reference: message.reference,
            revision: message.revision,
            author: author(message.by, message.why),
            run: run(message.only_try),
        };
        Ok(Response::new(show::changed(
            &self.update(asked, spec, image).await?,
        )))
    }

    async fn rollback_service(
        &self,
        request: Request<v1::RollbackServiceRequest>,
    ) -> Answered<v1::UpdateServiceAnswer> {
        let message = request.into_inner();
        let asked = Asked {
            request: request_id(&message.request)?,
            reference: message.reference,
            revision: message.revision,
            author: author(message.by, message.why),
            run: run(message.only_try),
        };
        let changed = self.roll_back(asked, message.to).await?;
        Ok(Response::new(show::changed(&changed)))
    }

    async fn change_rollout(
        &self,
        request: Request<v1::ChangeRolloutRequest>,
    ) -> Answered<v1::UpdateServiceAnswer> {
        let message = request.into_inner();
        let turn = match v1::RolloutAction::try_from(message.action) {
            Ok(v1::RolloutAction::Pause) => Turn::Pause,
            Ok(v1::RolloutAction::Resume) => Turn::Resume,
            _ => return Err(Status::invalid_argument("action: has no value")),
        };
        let asked = Asked {
            request: request_id(&message.request)?,
            reference: message.reference,
            revision: None,
            author: author(message.by, message.why),
            run: Run::Change,
        };
        let changed = self.turn(asked, turn).await?;
        Ok(Response::new(show::changed(&changed)))
    }

    async fn remove_service(
        &self,
        request: Request<v1::RemoveServiceRequest>,
    ) -> Answered<v1::RemoveServiceAnswer> {
        let message = request.into_inner();
        let request = request_id(&message.request)?;
        let id = again(|| self.remove(request, &message.reference)).await?;
        Ok(Response::new(v1::RemoveServiceAnswer { id: id.to_bytes() }))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answered<v1::ListServicesAnswer> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let passes = |it: &&Arc<skep_proto::service::Service>| {
            let id = it.id.to_string();
            let named = |text: &String| it.spec.name.starts_with(text) || id.starts_with(text);
            let labelled = |(name, value): (&String, &String)| {
                it.spec
                    .labels
                    .get(name)
                    .is_some_and(|has| value.is_empty() || has == value)
            };
            it.removed.is_none()
                && (message.references.is_empty() || message.references.iter().any(named))
                && message.labels.iter().all(labelled)
        };
        let services = state
            .services()
            .filter(passes)
            .map(|it| show::without_history(show::service(&state, it)))
            .collect();
        Ok(Response::new(v1::ListServicesAnswer { services }))
    }

    async fn get_service(&self, request: Request<v1::GetRequest>) -> Answered<v1::ServiceEntry> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let found = resolve::service(&state, &message.reference)?;
        Ok(Response::new(show::service(&state, &found)))
    }

    async fn watch_service(
        &self,
        request: Request<v1::WatchServiceRequest>,
    ) -> Answered<watch::Pictures> {
        let state = self.read().await?;
        let found = resolve::service(&state, &request.into_inner().reference)?;
        Ok(Response::new(self.pictures(found.id)))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answered<v1::ListTasksAnswer> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let mut services = BTreeSet::new();
        for reference in &message.services {
            services.insert(resolve::service(&state, reference)?.id);
        }
        let mut nodes = BTreeSet::new();
        for reference in &message.nodes {
            nodes.insert(resolve::node(&state, reference)?.id);
        }
        let passes = |it: &&Arc<skep_proto::task::Task>| {
            (services.is_empty() || services.contains(&it.service))
                && (nodes.is_empty() || it.node.is_some_and(|node| nodes.contains(&node)))
                && !(message.only_live
                    && (it.status.state.ended() || it.desired > TaskState::Running))
        };
        let tasks = state
            .tasks()
            .filter(passes)
            .map(|it| show::task(&state, it))
            .collect();
        Ok(Response::new(v1::ListTasksAnswer { tasks }))
    }

    async fn get_task(&self, request: Request<v1::GetRequest>) -> Answered<v1::TaskEntry> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let found = resolve::task(&state, &message.reference)?;
        Ok(Response::new(show::task(&state, &found)))
    }

    async fn why_task(&self, request: Request<v1::GetRequest>) -> Answered<v1::WhyTaskAnswer> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let found = resolve::task(&state, &message.reference)?;
        Ok(Response::new(show::why(&state, &found, self.ring.now())))
    }

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Answered<v1::ListNodesAnswer> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let passes = |it: &&Arc<skep_proto::node::Node>| {
            let id = it.id.to_string();
            let named =
                |text: &String| it.description.hostname.starts_with(text) || id.starts_with(text);
            message.references.is_empty() || message.references.iter().any(named)
        };
        let nodes = state
            .nodes()
            .filter(passes)
            .map(|it| self.show_node(&state, it))
            .collect();
        Ok(Response::new(v1::ListNodesAnswer { nodes }))
    }

    async fn get_node(&self, request: Request<v1::GetRequest>) -> Answered<v1::NodeEntry> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let found = resolve::node(&state, &message.reference)?;
        Ok(Response::new(self.show_node(&state, &found)))
    }

    async fn update_node(
        &self,
        request: Request<v1::UpdateNodeRequest>,
    ) -> Answered<v1::NodeEntry> {
        let message = request.into_inner();
        let spec: NodeSpec = spec(message.spec)?;
        let request = request_id(&message.request)?;
        let id = self
            .update_nod(request, &message.reference, message.version, spec)
            .await?;
        let state = self.ring.stale();
        let found = resolve::node(&state, &id.to_string())?;
        Ok(Response::new(self.show_node(&state, &found)))
    }

    async fn drain_node(&self, request: Request<v1::DrainNodeRequest>) -> Answered<v1::NodeEntry> {
        let message = request.into_inner();
        let request = request_id(&message.request)?;
        let id = again(|| self.drain_nod(request, &message.reference, message.force)).await?;
        let state = self.ring.stale();
        let found = resolve::node(&state, &id.to_string())?;
        Ok(Response::new(self.show_node(&state, &found)))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Answered<v1::RemoveNodeAnswer> {
        let message = request.into_inner();
        let request = request_id(&message.request)?;
        let id = again(|| self.remove_nod(request, &message.reference, message.force)).await?;
        Ok(Response::new(v1::RemoveNodeAnswer { id: id.to_bytes() }))
    }

    async fn remove_manager(
        &self,
        request: Request<v1::RemoveManagerRequest>,
    ) -> Answered<v1::RemoveManagerAnswer> {
        let message = request.into_inner();
        let request = request_id(&message.request)?;
        let id = self
            .remove_mgr(request, &message.reference, message.force)
            .await?;
        Ok(Response::new(v1::RemoveManagerAnswer { id: id.to_bytes() }))
    }

    async fn create_network(
        &self,
        request: Request<v1::CreateNetworkRequest>,
    ) -> Answered<v1::CreateNetworkAnswer> {
        let message = request.into_inner();
        let spec: NetworkSpec = spec(message.spec)?;
        let id = self.create_net(request_id(&message.request)?, spec).await?;
        Ok(Response::new(v1::CreateNetworkAnswer {
            id: id.to_bytes(),
            warnings: Vec::new(),
        }))
    }

    async fn list_networks(
        &self,
        request: Request<v1::ListNetworksRequest>,
    ) -> Answered<v1::ListNetworksAnswer> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let passes = |it: &&Arc<skep_proto::network::Network>| {
            let id = it.id.to_string();
            let named = |text: &String| it.spec.name.starts_with(text) || id.starts_with(text);
            message.references.is_empty() || message.references.iter().any(named)
        };
        let networks = state
            .networks()
            .filter(passes)
            .map(|it| show::network(&state, it))
            .collect();
        Ok(Response::new(v1::ListNetworksAnswer { networks }))
    }

    async fn get_network(&self, request: Request<v1::GetRequest>) -> Answered<v1::NetworkEntry> {
        let message = request.into_inner();
        let state = self.read_as(stale(message.read)).await?;
        let found = resolve::network(&state, &message.reference)?;
        Ok(Response::new(show::network(&state, &found)))
    }

    async fn remove_network(
        &self,
        request: Request<v1::RemoveNetworkRequest>,
    ) -> Answered<v1::RemoveNetworkAnswer> {
        let message = request.into_inner();
        let id = self
            .remove_net(request_id(&message.request)?, &message.reference)
            .await?;
        Ok(Response::new(v1::RemoveNetworkAnswer { id: id.to_bytes() }))
    }

    async fn create_file(
        &self,
        request: Request<v1::CreateFileRequest>,
    ) -> Answered<v1::CreateFileAnswer> {
        Ok(Response::new(
            self.file_created(request.into_inner()).await?,
        ))
    }

    async fn list_files(
        &self,
        request: Request<v1::ListFilesRequest>,
    ) -> Answered<v1::ListFilesAnswer> {
        Ok(Response::new(
            self.files_listed(request.into_inner()).await?,
        ))
    }

    async fn get_file(&self, request: Request<v1::GetFileRequest>) -> Answered<v1::FileEntry> {
        Ok(Response::new(self.file_got(request.into_inner()).await?))
    }

    async fn remove_file(
        &self,
        request: Request<v1::RemoveFileRequest>,
    ) -> Answered<v1::RemoveFileAnswer> {
        Ok(Response::new(
            self.file_removed(request.into_inner()).await?,
        ))
    }

    async fn rotate_file(
        &self,
        request: Request<v1::RotateFileRequest>,
    ) -> Answered<v1::RotateFileAnswer> {
        Ok(Response::new(
            self.file_rotated(request.into_inner()).await?,
        ))
    }

    async fn put_image(
        &self,
        request: Request<v1::PutImageRequest>,
    ) -> Answered<v1::PutImageAnswer> {
        let message = request.into_inner();
        let image: Image =
            wire::message(message.image, "image").map_err(|error| refuse::malformed(&error))?;
        self.put_img(request_id(&message.request)?, image).await?;
        Ok(Response::new(v1::PutImageAnswer {}))
    }

    async fn forget_image(
        &self,
        request: Request<v1::ForgetImageRequest>,
    ) -> Answered<v1::ForgetImageAnswer> {
        let message = request.into_inner();
        let request = request_id(&message.request)?;
        let known = self.forget_img(request, &message.name).await?;
        Ok(Response::new(v1::ForgetImageAnswer { known }))
    }

    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Answered<v1::ListImagesAnswer> {
        let state = self.read_as(stale(request.into_inner().read)).await?;
        let images = state.images().map(|it| self.show_image(it)).collect();
        Ok(Response::new(v1::ListImagesAnswer { images }))
    }

    async fn get_cluster(
        &self,
        request: Request<v1::GetClusterRequest>,
    ) -> Answered<v1::ClusterEntry> {
        let state = self.read_as(stale(request.into_inner().read)).await?;
        Ok(Response::new(self.show_cluster(&*self.cluster(&state)?)))
    }

    async fn update_cluster(
        &self,
        request: Request<v1::UpdateClusterRequest>,
    ) -> Answered<v1::ClusterEntry> {
        let message = request.into_inner();
        let duration = |millis: Option<u64>| millis.map(Duration::from_millis);
        let settings = Settings {
            heartbeat: duration(message.heartbeat_ms),
            down_after: duration(message.down_after_ms),
            orphan_after: duration(message.orphan_after_ms),
            task_history: message.task_history,
            certificate_expiry: duration(message.certificate_expiry_ms),
        };
        let request = request_id(&message.request)?;
        let cluster = self.update_clu(request, settings).await?;
        Ok(Response::new(self.show_cluster(&cluster)))
    }

    async fn join_tokens(
        &self,
        request: Request<v1::JoinTokensRequest>,
    ) -> Answered<v1::JoinTokensAnswer> {
        let message = request.into_inner();
        let mut rotate = BTreeSet::new();
        for role in &message.rotate {
            let role: Role = wire::enumeration::<v1::Role, Role>(*role, "rotate")
                .map_err(|error| refuse::malformed(&error))?;
            rotate.insert(role);
        }
        let request = request_id(&message.request)?;
        let cluster = again(|| self.tokens(request, rotate.clone())).await?;
        let state = self.ring.stale();
        let reachable = |it: &&Arc<skep_proto::node::Node>| it.status.state != NodeState::Down;
        let managers = state
            .nodes()
            .filter(reachable)
            .filter_map(|it| it.manager.as_ref());
        let token = |secret| JoinToken::new(&cluster.authority.certificate, secret).to_string();
        Ok(Response::new(v1::JoinTokensAnswer {
            worker: token(cluster.tokens.worker),
            manager: token(cluster.tokens.manager),
            managers: managers
                .map(|manager| v1::Address::from(manager.address))
                .collect(),
        }))
    }
}
