//! Names of images as registries know them: pure.

use skep_proto::image::Digest;

/// The registry of names that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// Where [`DEFAULT_REGISTRY`] answers.
const DEFAULT_HOST: &str = "registry-1.docker.io";
/// The most characters of a repository's path.
const MAX_REPOSITORY: usize = 255;
/// The most characters of a tag.
const MAX_TAG: usize = 128;

/// An image's name taken apart. Docker's rules: the first part is a host when it has a dot, a colon or is
/// `localhost`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// Host with its port, as users write it; [`DEFAULT_REGISTRY`] where none was named.
    pub registry: String,
    /// Path of the image there, such as `library/nginx`.
    pub repository: String,
    /// `latest` where none was named.
    pub tag: String,
    /// What was named behind an `@`.
    pub digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{text}\" is not an image's name: {reason}; expected [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]"
)]
pub struct ReferenceError {
    text: String,
    reason: String,
}

impl Reference {
    /// Takes a name apart.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |reason: String| ReferenceError {
            text: text.to_owned(),
            reason,
        };
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => {
                let digest = digest.parse::<Digest>();
                (
                    name,
                    Some(digest.map_err(|error| wrong(error.to_string()))?),
                )
            }
        };
        let (registry, rest) = match name.split_once('/') {
            Some((host, rest)) if is_host(host) => (normal(host), rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (rest, "latest"),
        };
        check_path(path).map_err(wrong)?;
        check_tag(tag).map_err(wrong)?;
        let repository = match (registry, path.contains('/')) {
            (DEFAULT_REGISTRY, false) => format!("library/{path}"),
            _ => path.to_owned(),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.to_owned(),
            digest,
        })
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn wanted(&self) -> String {
        self.digest
            .map_or_else(|| self.tag.clone(), |digest| digest.to_string())
    }

    /// The same image by a digest.
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }
}

/// The name that configuration files use for a registry's host.
pub fn normal(host: &str) -> &str {
    match host {
        "index.docker.io" | DEFAULT_HOST => DEFAULT_REGISTRY,
        other => other,
    }
}

/// Where a registry answers.
pub(super) fn host_of(registry: &str) -> &str {
    match registry {
        DEFAULT_REGISTRY => DEFAULT_HOST,
        other => other,
    }
}

fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.chars().any(char::is_uppercase)
}

fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("it has no path".to_owned());
    }
    if path.len() > MAX_REPOSITORY {
        return Err(format!(
            "its path has more than {MAX_REPOSITORY} characters"
        ));
    }
    for part in path.split('/') {
        let edge =
            |it: Option<char>| it.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
        if !edge(part.chars().next()) || !edge(part.chars().last()) {
            return Err(format!(
                "\"{part}\" does not begin and end with a small letter or a digit"
            ));
        }
        let fits = |it: char| edge(Some(it)) || matches!(it, '.' | '_' | '-');
        if let Some(other) = part.chars().find(|it| !fits(*it)) {
            return Err(format!("\"{other}\" is not allowed in \"{part}\""));
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    if tag.is_empty()
        || tag.len() > MAX_TAG
        || tag.starts_with(['.', '-'])
        || !tag.chars().all(fits)
    {
        return Err(format!(
            "\"{tag}\" is not a tag: up to {MAX_TAG} letters, digits, dots, dashes and underscores"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        for (text, registry, repository, tag) in [
            ("nginx", "docker.io", "library/nginx", "latest"),
            ("me/app:2", "docker.io", "me/app", "2"),
            ("index.docker.io/nginx:1", "docker.io", "library/nginx", "1"),
            ("localhost/app", "localhost", "app", "latest"),
            ("host:5000/app", "host:5000", "app", "latest"),
            ("host:5000/a/b/c:v1", "host:5000", "a/b/c", "v1"),
            ("10.0.0.1:5000/app:x", "10.0.0.1:5000", "app", "x"),
        ] {
            let found = Reference::parse(text).unwrap();
            assert_eq!(
                (&*found.registry, &*found.repository, &*found.tag),
                (registry, repository, tag),
                "{text}"
            );
        }
        let digest = Digest([7; 32]);
        let found = Reference::parse(&format!("a.b/app:1@{digest}")).unwrap();
        assert_eq!(found.wanted(), digest.to_string());
    }

    #[test]
    fn what_names_nothing_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "no path"),
            ("Nginx", "small letter"),
            ("host:5000/", "no path"),
            ("a/../b", "small letter"),
            ("app:bad tag", "not a tag"),
            ("app@sha256:12", "not a digest"),
            ("a b", "\" \" is not allowed"),
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
