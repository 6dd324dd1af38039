//! What the spec of a token must satisfy. Pure.

use super::{Invalid, MOST_REPLICAS, invalid, name};
use crate::token::{DeployBounds, MOST_IMAGES, MOST_SERVICES, TokenRole, TokenSpec};

/// Checks a token's spec.
///
/// # Errors
/// The first thing that is wrong, as the user knows it.
pub fn token(spec: &TokenSpec) -> Result<(), Invalid> {
    name("NAME", &spec.name)?;
    match &spec.role {
        TokenRole::Admin | TokenRole::Read => Ok(()),
        TokenRole::Deploy(bounds) => deploy(bounds),
    }
}

fn deploy(bounds: &DeployBounds) -> Result<(), Invalid> {
    if bounds.services.is_empty() {
        return Err(invalid(
            "--service",
            "a deploy token is for named services; name at least one",
        ));
    }
    if bounds.services.len() > MOST_SERVICES {
        let reason = format!("one token is for {MOST_SERVICES} services at most");
        return Err(invalid("--service", reason));
    }
    for service in &bounds.services {
        name("--service", service)?;
    }
    if bounds.images.is_empty() && bounds.replicas.is_none() {
        return Err(invalid(
            "--image",
            "this deploy token may change nothing; say which images it may roll out, or how many replicas it \
             may ask for with --replicas",
        ));
    }
    if bounds.images.len() > MOST_IMAGES {
        let reason = format!("one token has {MOST_IMAGES} patterns at most");
        return Err(invalid("--image", reason));
    }
    match bounds.replicas {
        Some(range) if range.least > range.most || range.most > MOST_REPLICAS => Err(invalid(
            "--replicas",
            format!("{range} must go up, to {MOST_REPLICAS} at most"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::ReplicaRange;

    #[test]
    fn a_deploy_token_names_services_and_what_may_change() {
        let check = |services: &[&str], images: &[&str], range: Option<(u32, u32)>| {
            let bounds = DeployBounds {
                services: services.iter().map(ToString::to_string).collect(),
                images: images.iter().filter_map(|text| text.parse().ok()).collect(),
                replicas: range.map(|(least, most)| ReplicaRange { least, most }),
            };
            let role = TokenRole::Deploy(bounds);
            let name = "ci".into();
            token(&TokenSpec { name, role }).map_err(|error| error.field)
        };
        assert_eq!(check(&["web"], &["r.io/web"], None), Ok(()));
        assert_eq!(check(&["web"], &[], Some((1, 3))), Ok(()));
        assert_eq!(check(&[], &["r.io/web"], None), Err("--service"));
        assert_eq!(check(&["-web"], &["r.io/web"], None), Err("--service"));
        assert_eq!(check(&["web"], &[], None), Err("--image"));
        assert_eq!(check(&["web"], &[], Some((3, 1))), Err("--replicas"));
        assert_eq!(check(&["web"], &[], Some((1, u32::MAX))), Err("--replicas"));
    }
}
