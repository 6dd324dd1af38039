//! What an image says of how to run it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use skep_proto::image::Digest;
use skep_proto::spec::{HealthCheck, HealthTest};

use super::error::{ImageError, malformed};

/// The part of an image's configuration that a container is made from. Absent and null mean empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `USER[:GROUP]`, by name or number; empty is root.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What comes before the arguments.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments, unless others are given.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Where it starts; empty is `/`.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// What ends it; empty is SIGTERM.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
    /// Ports it listens on, such as `80/tcp`.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Paths that want a volume.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// How it is found out whether its container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<ImageHealth>,
    /// Labels.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
}

/// An image's HEALTHCHECK: times in nanoseconds, of which 0 is the default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageHealth {
    /// `["NONE"]`, `["CMD", WORD…]` or `["CMD-SHELL", LINE]`; empty is none.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// From the end of a test to the next.
    pub interval: i64,
    /// A test that takes longer has failed.
    pub timeout: i64,
    /// Failures in a row.
    pub retries: i64,
    /// Failures do not count for so long after the start.
    pub start_period: i64,
    /// From test to test in that time.
    pub start_interval: i64,
}

impl From<&ImageHealth> for HealthCheck {
    fn from(image: &ImageHealth) -> Self {
        let time = |nanos: i64| {
            let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0);
            nanos.map(Duration::from_nanos)
        };
        let (word, rest) = match image.test.split_first() {
            Some((word, rest)) => (word.as_str(), rest),
            None => ("", Default::default()),
        };
        Self {
            test: match (word, rest) {
                ("NONE", _) => Some(HealthTest::None),
                ("CMD", [_, ..]) => Some(HealthTest::Command(rest.to_vec())),
                ("CMD-SHELL", [line, ..]) => Some(HealthTest::Shell(line.clone())),
                _ => None,
            },
            interval: time(image.interval),
            timeout: time(image.timeout),
            retries: u32::try_from(image.retries)
                .ok()
                .filter(|retries| *retries > 0),
            start_period: time(image.start_period),
            start_interval: time(image.start_interval),
        }
    }
}

/// The whole document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: ImageConfig,
    pub(super) rootfs: RootfsIds,
}

/// Its layers, from the lowest up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RootfsIds {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) diff_ids: Vec<String>,
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Document {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        serde_json::from_slice(bytes).map_err(|error| malformed("the image's configuration", error))
    }

    /// A configuration for this machine over these layers. Equal arguments give equal bytes.
    pub(super) fn write(config: &ImageConfig, diff_ids: &[Digest]) -> Result<Vec<u8>, ImageError> {
        let document = Self {
            architecture: architecture().to_owned(),
            os: "linux".to_owned(),
            config: config.clone(),
            rootfs: RootfsIds {
                kind: "layers".to_owned(),
                diff_ids: diff_ids.iter().map(ToString::to_string).collect(),
            },
        };
        serde_json::to_vec(&document).map_err(|error| malformed("the configuration", error))
    }

    pub(super) fn diff_ids(&self) -> Result<Vec<Digest>, ImageError> {
        self.rootfs
            .diff_ids
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|error| malformed("the image's configuration", error))
            })
            .collect()
    }
}

/// This machine's architecture, as images name it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
