//! Names of images as users know them: pure.

/// Prefixes that mean the default registry and are not written.
const DEFAULTS: [&str; 4] = [
    "docker.io/library/",
    "index.docker.io/library/",
    "docker.io/",
    "index.docker.io/",
];

/// The familiar form of a name, with a tag: `docker.io/library/nginx` is `nginx:latest`.
pub fn familiar(name: &str) -> String {
    let without_digest = name.split_once('@').map_or(name, |(name, _)| name);
    let short = DEFAULTS
        .iter()
        .find_map(|prefix| without_digest.strip_prefix(prefix))
        .unwrap_or(without_digest);
    let last = short.rsplit('/').next().unwrap_or(short);
    if last.contains(':') {
        short.to_owned()
    } else {
        format!("{short}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::familiar;

    #[test]
    fn names_become_familiar() {
        for (name, expected) in [
            ("nginx", "nginx:latest"),
            ("docker.io/library/nginx:1.25", "nginx:1.25"),
            ("docker.io/me/app", "me/app:latest"),
            ("host:5000/app", "host:5000/app:latest"),
            ("app:1@sha256:00", "app:1"),
        ] {
            assert_eq!(familiar(name), expected);
        }
    }
}
