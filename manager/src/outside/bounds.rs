//! What a deploy token may make of a service: another image that fits, another number of replicas in its range.
//! Pure.

use skep_proto::image::{Digest, ImageRef, familiar};
use skep_proto::spec::{Mode, PullPolicy, ServiceSpec};
use skep_proto::token::DeployBounds;

use super::changed::changed;
use crate::state::State;

/// What is beyond the bounds.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Beyond {
    /// Fields that are not its business.
    #[error("may change {allowed} of service \"{service}\" and nothing else; this changes {}", changed.join(", "))]
    Fields {
        /// What it may change.
        allowed: String,
        /// Whose.
        service: String,
        /// Options, as users know them.
        changed: Vec<&'static str>,
    },
    /// An image that fits no pattern.
    #[error("may roll out {allowed} and not \"{image}\"")]
    Image {
        /// The patterns.
        allowed: String,
        /// What was asked for.
        image: String,
    },
    /// A digest that may stand for anything.
    #[error("may not roll out \"{image}\" by its digest: {reason}")]
    Digest {
        /// What was asked for.
        image: String,
        /// Why.
        reason: &'static str,
    },
    /// A number out of the range.
    #[error("may ask for {allowed} replicas of service \"{service}\" and not for {wanted}")]
    Replicas {
        /// The range.
        allowed: String,
        /// Whose.
        service: String,
        /// What was asked for.
        wanted: u32,
    },
}

/// Whether `new` in the place of `old` keeps to the bounds.
///
/// # Errors
/// What is beyond them.
pub fn keeps_to(bounds: &DeployBounds, old: &ServiceSpec, new: &ServiceSpec) -> Result<(), Beyond> {
    let mut rest = new.clone();
    if !bounds.images.is_empty() {
        rest.task.container.image = old.task.container.image.clone();
    }
    if let (Some(_), Mode::Replicated { .. }, Mode::Replicated { .. }) =
        (bounds.replicas, old.mode, new.mode)
    {
        rest.mode = old.mode;
    }
    if rest != *old {
        return Err(Beyond::Fields {
            allowed: allowed(bounds),
            service: old.name.clone(),
            changed: changed(old, &rest),
        });
    }
    let image = &new.task.container.image;
    if *image != old.task.container.image && !bounds.images.iter().any(|it| it.fits(&image.name)) {
        let patterns: Vec<String> = bounds.images.iter().map(ToString::to_string).collect();
        return Err(Beyond::Image {
            allowed: patterns.join(", "),
            image: image.to_string(),
        });
    }
    match (bounds.replicas, new.mode) {
        (Some(range), Mode::Replicated { replicas })
            if new.mode != old.mode && !range.has(replicas) =>
        {
            Err(Beyond::Replicas {
                allowed: range.to_string(),
                service: old.name.clone(),
                wanted: replicas,
            })
        }
        _ => Ok(()),
    }
}

fn allowed(bounds: &DeployBounds) -> String {
    match (bounds.images.is_empty(), bounds.replicas.is_some()) {
        (false, true) => "the image and the replicas",
        (false, false) => "the image",
        (true, _) => "the replicas",
    }
    .to_owned()
}

/// Whether a digest, if one is named, can only be one of the image's own repository: a registry is asked for it
/// there, unless the cluster knows it already or nobody is to ask.
///
/// # Errors
/// Why it may be that of any image.
pub fn own_digest(
    bounds: &DeployBounds,
    state: &State,
    new: &ServiceSpec,
    asked: Asked,
) -> Result<(), Beyond> {
    let image = &new.task.container.image;
    let Some(digest) = named(image) else {
        return Ok(());
    };
    let name = familiar(&image.name);
    let beyond = |reason| {
        let image = image.to_string();
        Err(Beyond::Digest { image, reason })
    };
    let fitting = bounds.images.iter().filter(|it| it.fits(&name));
    if fitting.clone().all(|pattern| pattern.names_tags()) {
        return beyond("the token names tags, and a digest has none; name the image by its tag");
    }
    match digest {
        None => beyond("it is no digest"),
        Some(_) if asked == Asked::Nobody || new.task.container.pull == PullPolicy::Never => {
            beyond("no registry is asked whether it is this image's; name the image by its tag")
        }
        Some(digest) => {
            let mut same = state.images().filter(|it| it.digest == digest).peekable();
            let foreign = same.peek().is_some() && !same.any(|it| it.name == name);
            if foreign {
                return beyond("the cluster knows it as that of another image");
            }
            Ok(())
        }
    }
}

/// Who is asked what an image's name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Its registry.
    Registry,
    /// Nobody, now: each node will.
    Nobody,
}

/// The digest that an image is named by; `Some(None)` where what stands there is none.
fn named(image: &ImageRef) -> Option<Option<Digest>> {
    let written = image.name.split_once('@');
    match (image.digest, written) {
        (Some(digest), _) => Some(Some(digest)),
        (None, Some((_, digest))) => Some(digest.parse().ok()),
        (None, None) => None,
    }
}
