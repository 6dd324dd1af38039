//! Logins to registries: kept in Docker's configuration file or by its credential helpers, so that both programs
//! share them.

mod command;
mod file;
mod program;

use skep_proto::image::RegistryAuth;
use skep_proto::spec::PullPolicy;
use skep_proto::wire::v1;
use skep_worker::exec::image::registry::{Reference, normal};

use crate::args::image::{OriginArgs, PullArg};

pub use command::{log_in, log_out};
use file::Logins;

/// The login for the registry of an image, where there is one.
///
/// # Errors
/// When the image's name is none, or the file or a helper cannot be read.
pub fn of_image(image: &str) -> anyhow::Result<Option<RegistryAuth>> {
    let reference = Reference::parse(image)?;
    Logins::open()?.get(&reference.registry)
}

/// What goes with a service's image: for `service create` and `service update`.
///
/// # Errors
/// When the login is asked for and there is none.
pub fn for_image(image: &str, origin: &OriginArgs) -> anyhow::Result<Option<v1::RegistryAuth>> {
    if !origin.with_registry_auth {
        return Ok(None);
    }
    let registry = Reference::parse(image)?.registry;
    let found = of_image(image)?;
    let found = found.ok_or_else(|| {
        anyhow::anyhow!(
            "--with-registry-auth: there is no login for {registry}; log in with: skep login {registry}"
        )
    })?;
    Ok(Some(v1::RegistryAuth::from(&found)))
}

/// When a node asks the registry; the default is Docker's.
pub fn policy(pull: Option<PullArg>) -> PullPolicy {
    match pull {
        None | Some(PullArg::Missing) => PullPolicy::Missing,
        Some(PullArg::Always) => PullPolicy::Always,
        Some(PullArg::Never) => PullPolicy::Never,
    }
}

/// A registry as a user types it, without scheme and path.
fn registry(typed: Option<&str>) -> String {
    let bare = typed.unwrap_or("docker.io");
    let bare = bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))
        .unwrap_or(bare);
    normal(bare.split('/').next().unwrap_or(bare)).to_owned()
}

#[cfg(test)]
mod tests;
