//! Looks into what the bearer of a deploy token asks, and lets it through when it keeps to the token's bounds.
//!
//! References become ids and a change names the revision that it was looked at with: what is done then is what was
//! looked at, or nothing.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
use skep_proto::service::Service;
use skep_proto::spec::ServiceSpec;
use skep_proto::token::DeployBounds;
use skep_proto::wire::{self, v1};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::Request;

use super::bounds::{Asked, Beyond, keeps_to, own_digest};
use crate::control::resolve;
use crate::plan::earlier;
use crate::state::{Answer, State};

/// Most bytes of a message, as the doors behind this one take them.
const LARGEST: usize = 4 << 20;
/// Before each message: whether it is compressed, and how long it is.
const PREFIX: usize = 5;

/// A token, for what is said of it.
pub struct Bearer<'a> {
    /// Its name.
    pub name: &'a str,
    /// How far it goes.
    pub bounds: &'a DeployBounds,
    /// What was committed.
    pub state: &'a State,
}

impl Bearer<'_> {
    /// The same call where it keeps to the bounds.
    ///
    /// # Errors
    /// What is beyond them.
    pub async fn looked_at(&self, request: Request<Body>) -> Result<Request<Body>, Status> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let bytes = body.to_bytes();
        let call = head.uri.path().rsplit('/').next().unwrap_or_default();
        let sent = match call {
            "GetService" => framed(&self.get_service(message(&bytes)?)?),
            "WatchService" => framed(&self.watch_service(message(&bytes)?)?),
            "ListTasks" => framed(&self.list_tasks(message(&bytes)?)?),
            "GetTask" | "WhyTask" => framed(&self.get_task(message(&bytes)?)?),
            "UpdateService" => framed(&self.update_service(message(&bytes)?)?),
            "RollbackService" => framed(&self.rollback_service(message(&bytes)?)?),
            _ => return Err(self.refused("may not do this")),
        };
        Ok(Request::from_parts(head, Body::new(Full::new(sent))))
    }

    fn refused(&self, what: impl std::fmt::Display) -> Status {
        Status::permission_denied(format!("token \"{}\" {what}", self.name))
    }

    fn beyond(&self, beyond: &Beyond) -> Status {
        self.refused(beyond)
    }

    /// The service that is meant, if the token is for it. Of others it is not even said whether they are there.
    fn service(&self, reference: &str) -> Result<Arc<Service>, Status> {
        let foreign = || {
            let services = &self.bounds.services;
            let names: Vec<String> = services.iter().map(|it| format!("\"{it}\"")).collect();
            self.refused(format_args!(
                "is for service {} and not for \"{reference}\"",
                names.join(", ")
            ))
        };
        match resolve::service(self.state, reference) {
            Ok(found) if self.bounds.services.contains(&found.spec.name) => Ok(found),
            Err(status) if self.bounds.services.contains(reference) => Err(status),
            _ => Err(foreign()),
        }
    }

    fn get_service(&self, mut message: v1::GetRequest) -> Result<v1::GetRequest, Status> {
        message.reference = self.service(&message.reference)?.id.to_string();
        Ok(message)
    }

    fn watch_service(
        &self,
        mut message: v1::WatchServiceRequest,
    ) -> Result<v1::WatchServiceRequest, Status> {
        // One that is gone meanwhile is told by the watch itself.
        let id = message.reference.parse();
        let gone = id.ok().and_then(|id| self.state.service(id));
        let gone = gone.filter(|it| self.bounds.services.contains(&it.spec.name));
        if gone.is_none() {
            message.reference = self.service(&message.reference)?.id.to_string();
        }
        Ok(message)
    }

    fn list_tasks(
        &self,
        mut message: v1::ListTasksRequest,
    ) -> Result<v1::ListTasksRequest, Status> {
        if message.services.is_empty() {
            return Err(self.refused("may list the tasks of its services alone; name them"));
        }
        for reference in &mut message.services {
            *reference = self.service(reference)?.id.to_string();
        }
        Ok(message)
    }

    fn get_task(&self, mut message: v1::GetRequest) -> Result<v1::GetRequest, Status> {
        let found = resolve::task(self.state, &message.reference).ok();
        let of_ours = |service: &&Arc<Service>| self.bounds.services.contains(&service.spec.name);
        let ours = found.filter(|task| self.state.service(task.service).filter(of_ours).is_some());
        let task = ours.ok_or_else(|| {
            let reference = &message.reference;
            self.refused(format_args!(
                "knows no task \"{reference}\" of its services"
            ))
        })?;
        message.reference = task.id.to_string();
        Ok(message)
    }

    fn update_service(
        &self,
        mut message: v1::UpdateServiceRequest,
    ) -> Result<v1::UpdateServiceRequest, Status> {
        let old = self.service(&message.reference)?;
        message.reference = old.id.to_string();
        if self.repeats(&message.request, &old)? {
            return Ok(message);
        }
        message.revision = Some(made_from(&old, message.revision)?);
        let spec = message.spec.clone();
        let new: ServiceSpec = wire::message(spec, "spec").map_err(malformed)?;
        keeps_to(self.bounds, &old.spec, &new).map_err(|it| self.beyond(&it))?;
        let auth = message.registry_auth.clone().map(Into::into);
        if auth.is_some() && auth.as_ref() != old.auth.as_deref() {
            return Err(self.refused(format_args!(
                "may not change the registry's login of service \"{}\" (--with-registry-auth); it keeps the one \
                 it has",
                old.spec.name
            )));
        }
        if new.task.container.image != old.spec.task.container.image {
            let asked = match message.no_resolve_image {
                true => Asked::Nobody,
                false => Asked::Registry,
            };
            own_digest(self.bounds, self.state, &new, asked).map_err(|it| self.beyond(&it))?;
        }
        Ok(message)
    }

    fn rollback_service(
        &self,
        mut message: v1::RollbackServiceRequest,
    ) -> Result<v1::RollbackServiceRequest, Status> {
        let old = self.service(&message.reference)?;
        message.reference = old.id.to_string();
        if self.repeats(&message.request, &old)? {
            return Ok(message);
        }
        message.revision = Some(made_from(&old, message.revision)?);
        let back = earlier(&old, message.to)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        message.to = Some(back.number);
        let mut new = ServiceSpec::clone(&back.spec);
        // A manager filled it in for the image of then.
        new.task.platforms.clone_from(&old.spec.task.platforms);
        keeps_to(self.bounds, &old.spec, &new).map_err(|it| self.beyond(&it))?;
        Ok(message)
    }

    /// Whether a change of this service was made by this request before: then it gets the first answer.
    fn repeats(&self, request: &[u8], service: &Service) -> Result<bool, Status> {
        let request = wire::request_id(request).map_err(malformed)?;
        let answer = self.state.answered(request).map(|it| &it.answer);
        Ok(answer == Some(&Answer::Service(service.id)))
    }
}

/// The revision that a change is made from: that of what was looked at.
fn made_from(service: &Service, said: Option<u64>) -> Result<u64, Status> {
    match said {
        Some(revision) if revision != service.revision => Err(Status::aborted(format!(
            "service \"{}\" was changed meanwhile: it is at revision {}, and this was made from revision {revision}; \
             look at it again and repeat",
            service.spec.name, service.revision
        ))),
        _ => Ok(service.revision),
    }
}

fn malformed(error: wire::WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The only message of a call.
fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    let wrong = |what: &str| Status::invalid_argument(format!("the call cannot be read: {what}"));
    let Some((prefix, message)) = bytes.split_at_checked(PREFIX) else {
        return Err(wrong("it has no message"));
    };
    if prefix.first() != Some(&0) {
        return Err(wrong("its message is compressed"));
    }
    let length = prefix.get(1..).and_then(|length| length.try_into().ok());
    let length = length.map(u32::from_be_bytes).map(usize::try_from);
    if length != Some(Ok(message.len())) {
        return Err(wrong("it has more or less than one message"));
    }
    M::decode(message).map_err(|error| wrong(&error.to_string()))
}

/// The message as a call carries it.
fn framed(message: &impl Message) -> Bytes {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message.encode_to_vec());
    bytes.into()
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
