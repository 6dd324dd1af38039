//! Names of images and digests of their content.

use std::fmt;
use std::str::FromStr;

/// SHA-256 of a manifest or a blob, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Why a text is not a digest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is not a digest: expected sha256: and 64 hexadecimal digits")]
pub struct DigestError(String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Digest {
    /// The 64 hexadecimal digits alone, as in file names.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.strip_prefix("sha256:")
            .and_then(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| DigestError(text.to_owned()))
    }
}

/// An image as a spec names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ImageRef {
    /// Familiar name with its tag, such as `nginx:1.25` or `skep/hello:latest`.
    pub name: String,
    /// Digest of the manifest: what really runs. Set once, by a manager, when a service is created or updated.
    pub digest: Option<Digest>,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Name of the image that every node has built in.
pub const BUILT_IN: &str = "skep/hello:latest";

/// An image name known in the whole cluster: what `image load` and `image import` propose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Name with its tag.
    pub name: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Bytes of manifest, configuration and layers together.
    pub size: u64,
}

/// What proves to a registry who asks. Printed, it shows nothing of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RegistryAuth {
    /// Empty with an identity token.
    pub username: String,
    /// Empty with an identity token.
    pub password: String,
    /// What a login gave in place of a password; empty where there is none.
    pub identity_token: String,
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryAuth { (not shown) }")
    }
}

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
