//! Finds what a user refers to: an id, a name, or the beginning of an id that only one object has.

use std::fmt::Display;
use std::sync::Arc;

use skep_proto::file::{File, FileKind};
use skep_proto::network::Network;
use skep_proto::node::Node;
use skep_proto::service::Service;
use skep_proto::task::Task;
use skep_proto::token::StoredToken;
use tonic::{Code, Status};

use super::near::near;
use crate::state::State;

/// The service that `reference` means; one that is being removed is not found.
///
/// # Errors
/// When there is none, or more than one.
pub fn service(state: &State, reference: &str) -> Result<Arc<Service>, Status> {
    if let Some(named) = state.service_named(reference) {
        return Ok(named.clone());
    }
    let all = state.services().filter(|service| service.removed.is_none());
    one(
        "service",
        reference,
        all,
        |service| service.id,
        "skep service ls",
    )
}

/// The network that `reference` means.
///
/// # Errors
/// When there is none, or more than one.
pub fn network(state: &State, reference: &str) -> Result<Arc<Network>, Status> {
    if let Some(named) = state.network_named(reference) {
        return Ok(named.clone());
    }
    one(
        "network",
        reference,
        state.networks(),
        |network| network.id,
        "skep network ls",
    )
}

/// The secret or config that `reference` means.
///
/// # Errors
/// When there is none, with the names that are near, or more than one.
pub fn file(state: &State, kind: FileKind, reference: &str) -> Result<Arc<File>, Status> {
    if let Some(named) = state.file_named(kind, reference) {
        return Ok(named.clone());
    }
    let all = || state.files().filter(|file| file.id.kind() == kind);
    let (word, list) = (kind.to_string(), format!("skep {kind} ls"));
    one(&word, reference, all(), |file| file.id, &list).map_err(|status| {
        let close = near(reference, all().map(|file| file.spec.name.as_str()));
        if status.code() != Code::NotFound || close.is_empty() {
            return status;
        }
        let close: Vec<String> = close.iter().map(|name| format!("\"{name}\"")).collect();
        Status::not_found(format!(
            "there is no {kind} \"{reference}\"; near it is {}; see what there is with: {list}",
            close.join(", ")
        ))
    })
}

/// The node that `reference` means; host names are not unique.
///
/// # Errors
/// When there is none, or more than one.
pub fn node(state: &State, reference: &str) -> Result<Arc<Node>, Status> {
    let mut named = state
        .nodes()
        .filter(|node| node.description.hostname == reference);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only.clone()),
        (Some(_), Some(_)) => Err(Status::failed_precondition(format!(
            "several nodes are called \"{reference}\"; name one by its id: skep node ls"
        ))),
        (None, _) => one(
            "node",
            reference,
            state.nodes(),
            |node| node.id,
            "skep node ls",
        ),
    }
}

/// The task that `reference` means.
///
/// # Errors
/// When there is none, or more than one.
pub fn task(state: &State, reference: &str) -> Result<Arc<Task>, Status> {
    one(
        "task",
        reference,
        state.tasks(),
        |task| task.id,
        "skep task ls",
    )
}

/// The token that `reference` means.
///
/// # Errors
/// When there is none, or more than one.
pub fn token(state: &State, reference: &str) -> Result<Arc<StoredToken>, Status> {
    if let Some(named) = state.token_named(reference) {
        return Ok(named.clone());
    }
    one(
        "token",
        reference,
        state.tokens(),
        |stored| stored.token.id,
        "skep token ls",
    )
}

fn one<'a, T: 'a, I: Display>(
    kind: &str,
    reference: &str,
    all: impl Iterator<Item = &'a Arc<T>>,
    id: fn(&T) -> I,
    list: &str,
) -> Result<Arc<T>, Status> {
    let begins =
        |object: &&Arc<T>| !reference.is_empty() && id(object).to_string().starts_with(reference);
    let mut found = all.filter(begins);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Status::not_found(format!(
            "there is no {kind} \"{reference}\"; see what there is with: {list}"
        ))),
        (Some(_), Some(_)) => Err(Status::failed_precondition(format!(
            "more than one {kind} has an id that begins with \"{reference}\"; give more of it"
        ))),
    }
}
