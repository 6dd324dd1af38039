//! Where the images of a stack come from: what `--resolve-image` and `--with-registry-auth` ask for.

use skep_deploy::stack::Step;
use skep_proto::spec::ServiceSpec;
use skep_proto::wire::v1;

use crate::args::stack::{OriginArgs, ResolveArg};
use crate::login;

/// How the image of one service is found.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The login for its registry.
    pub auth: Option<v1::RegistryAuth>,
    /// Each node finds out for itself what the tag means.
    pub no_resolve_image: bool,
}

/// As was typed, for the image of `spec`. A registry without a login is asked without one, as in Docker: not every
/// image of a stack is a private one.
///
/// # Errors
/// When the image's name is none, or logins cannot be read.
pub fn of(args: &OriginArgs, spec: &ServiceSpec) -> anyhow::Result<Origin> {
    let auth = match args.with_registry_auth {
        true => login::of_image(&spec.task.container.image.name)?,
        false => None,
    };
    Ok(Origin {
        auth: auth.as_ref().map(v1::RegistryAuth::from),
        no_resolve_image: args.resolve_image == ResolveArg::Never,
    })
}

/// Whether a service whose files have not changed is to be looked at nevertheless.
pub fn looks_again(args: &OriginArgs, step: &Step) -> bool {
    args.with_registry_auth || follows_tag(args, step)
}

/// The digest that the image had is forgotten where its tag is to be looked up again.
pub fn follow_tag(args: &OriginArgs, step: &Step, spec: &mut ServiceSpec) {
    if follows_tag(args, step) {
        spec.task.container.image.digest = None;
    }
}

fn follows_tag(args: &OriginArgs, step: &Step) -> bool {
    let image = &step.wanted.spec.task.container.image;
    let pinned = image.digest.is_some() || image.name.contains('@');
    args.resolve_image == ResolveArg::Always && !pinned
}
