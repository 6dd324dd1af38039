//! From a project in its long form to what a cluster is asked for: names get the stack's before them, things
//! its label. Names and defaults are those of `docker stack deploy`. Pure.

mod container;
mod deploy;
mod fields;
mod mounts;
mod service;
mod shared;

use std::collections::BTreeMap;
use std::path::Path;

use super::compose::{Project, Surroundings};
use super::place::{Place, Trouble};
use super::wanted::Wanted;
use fields::Fields;
use skep_proto::file::FileKind;
use skep_proto::validate;

/// What the parts of a stack are called in the cluster.
pub(in crate::stack) struct Names<'a> {
    stack: &'a str,
    networks: BTreeMap<String, String>,
    volumes: BTreeMap<String, shared::VolumeDefined>,
    secrets: BTreeMap<String, String>,
    configs: BTreeMap<String, String>,
}

impl Names<'_> {
    /// `STACK_NAME`
    fn prefixed(&self, name: &str) -> String {
        format!("{}_{name}", self.stack)
    }
}

/// What `project` asks of a cluster as stack `stack`.
///
/// # Errors
/// The first value that is wrong, with its place, or a name that cannot be a stack's.
pub fn convert(
    stack: &str,
    project: &Project,
    around: &Surroundings<'_>,
) -> Result<Wanted, Trouble> {
    validate::name("STACK", stack)
        .map_err(|error| Trouble::new(&Place::whole("the stack's name"), error.reason))?;
    let root = Fields::new(&project.root, "")?;
    let mut names = Names {
        stack,
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        secrets: BTreeMap::new(),
        configs: BTreeMap::new(),
    };
    let mut networks = Vec::new();
    for (key, fields) in root.named("networks")? {
        let network = shared::network(key, &fields, &names)?;
        names
            .networks
            .insert(key.to_owned(), network.spec.name.clone());
        networks.push(network);
    }
    for (key, fields) in root.named("volumes")? {
        let volume = shared::volume(key, &fields, &names)?;
        names.volumes.insert(key.to_owned(), volume);
    }
    let read = |file: &str| (around.read)(Path::new(file));
    let (mut secrets, mut configs) = (Vec::new(), Vec::new());
    for (key, fields) in root.named("secrets")? {
        let secret = shared::filed(
            FileKind::Secret,
            key,
            &fields,
            &names,
            &around.variables,
            &read,
        )?;
        names.secrets.insert(key.to_owned(), secret.name.clone());
        secrets.push(secret);
    }
    for (key, fields) in root.named("configs")? {
        let config = shared::filed(
            FileKind::Config,
            key,
            &fields,
            &names,
            &around.variables,
            &read,
        )?;
        names.configs.insert(key.to_owned(), config.name.clone());
        configs.push(config);
    }
    Ok(Wanted {
        stack: stack.to_owned(),
        networks,
        secrets,
        configs,
        services: service::all(&root, &names)?,
    })
}
