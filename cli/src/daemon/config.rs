//! The daemon's settings: defaults, then the configuration file, then the command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use skep_worker::exec::image::registry::{DEFAULT_REGISTRY, RegistrySettings, normal};

use crate::args::{DaemonArgs, read};

/// Read when no other file is named and it is there.
pub const DEFAULT_FILE: &str = "/etc/skep/skep.toml";
const DEFAULT_DATA_ROOT: &str = "/var/lib/skep";
const DEFAULT_EXEC_ROOT: &str = "/run/skep";

/// The daemon's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where everything that must last is kept.
    pub data_root: PathBuf,
    /// Where everything that may go with a reboot is kept.
    pub exec_root: PathBuf,
    /// Socket for users.
    pub socket: PathBuf,
    /// Labels of this machine.
    pub labels: BTreeMap<String, String>,
    /// What this machine has of other things that tasks can reserve, by kind.
    pub generic: BTreeMap<String, u64>,
    /// Where metrics are served; `None` where they are not.
    pub metrics: Option<SocketAddr>,
    /// Least important lines that are logged.
    pub log_level: String,
    /// Where they go; `None` is the standard error output.
    pub log_file: Option<PathBuf>,
    /// How registries are reached.
    pub registries: RegistrySettings,
}

/// The configuration file. A key that is not known is refused.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data_root: Option<PathBuf>,
    exec_root: Option<PathBuf>,
    host: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    node_generic_resources: Vec<String>,
    log_level: Option<String>,
    log_file: Option<PathBuf>,
    #[serde(default)]
    insecure_registries: Vec<String>,
    #[serde(default)]
    registry_mirrors: Mirrors,
    metrics_addr: Option<SocketAddr>,
}

/// Mirrors, as Docker has them (of its own registry) or by registry.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mirrors {
    OfDefault(Vec<String>),
    ByRegistry(BTreeMap<String, Vec<String>>),
}

impl Default for Mirrors {
    fn default() -> Self {
        Self::OfDefault(Vec::new())
    }
}

/// Puts the settings together. `host` is what `--host` or SKEP_HOST said.
///
/// # Errors
/// Names the file or the option that is wrong.
pub fn read(args: DaemonArgs, host: Option<&str>) -> anyhow::Result<Config> {
    let mut file = read_file(args.config.as_deref())?;
    let registries = registries(&mut file, &args)?;
    let mut labels = file.labels;
    for text in &args.label {
        let (name, value) = read::label(text)
            .map_err(anyhow::Error::msg)
            .context("--label")?;
        labels.insert(name, value);
    }
    let generic = generic(&file.node_generic_resources, &args.node_generic_resource)?;
    let exec_root = absolute(
        "--exec-root",
        args.exec_root
            .or(file.exec_root)
            .unwrap_or_else(|| DEFAULT_EXEC_ROOT.into()),
    )?;
    let host = args.host.or(host.map(str::to_owned)).or(file.host);
    let socket = match host.as_deref() {
        None => exec_root.join("skep.sock"),
        Some(address) => socket_of(address)?,
    };
    let log_level = args
        .log_level
        .or(file.log_level)
        .unwrap_or_else(|| "info".into());
    let level = log_level.split(',').next().unwrap_or_default();
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        bail!("--log-level {log_level}: expected error, warn, info, debug or trace");
    }
    Ok(Config {
        data_root: absolute(
            "--data-root",
            args.data_root
                .or(file.data_root)
                .unwrap_or_else(|| DEFAULT_DATA_ROOT.into()),
        )?,
        exec_root,
        socket,
        labels,
        generic,
        metrics: args.metrics_addr.or(file.metrics_addr),
        log_level,
        log_file: args.log_file.or(file.log_file),
        registries,
    })
}

/// How registries are reached: what the command line names comes on top of the file.
fn registries(file: &mut File, args: &DaemonArgs) -> anyhow::Result<RegistrySettings> {
    let mut mirrors = match std::mem::take(&mut file.registry_mirrors) {
        Mirrors::OfDefault(urls) => BTreeMap::from([(DEFAULT_REGISTRY.to_owned(), urls)]),
        Mirrors::ByRegistry(by) => by
            .into_iter()
            .map(|(registry, urls)| (normal(&registry).to_owned(), urls))
            .collect(),
    };
    for mirror in &args.registry_mirror {
        let (registry, url) = match mirror.split_once('=') {
            Some((registry, url)) => (normal(registry), url),
            None => (DEFAULT_REGISTRY, mirror.as_str()),
        };
        mirrors
            .entry(registry.to_owned())
            .or_default()
            .push(url.to_owned());
    }
    let named = args.config.as_deref().and_then(Path::parent);
    let beside = named.unwrap_or(Path::new("/etc/skep")).join("certs.d");
    let settings = RegistrySettings {
        insecure: [&file.insecure_registries[..], &args.insecure_registry].concat(),
        mirrors,
        certificates: vec![absolute("--config", beside)?, "/etc/docker/certs.d".into()],
    };
    settings.check()?;
    Ok(settings)
}

/// What stands in the file, and what the command line says of the same kinds instead. Docker's names of single
/// things (`gpu=UUID1`) count as one each.
fn generic(file: &[String], line: &[String]) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for (place, texts) in [
        ("node-generic-resources", file),
        ("--node-generic-resource", line),
    ] {
        let mut here: BTreeMap<String, u64> = BTreeMap::new();
        for text in texts {
            let (kind, amount) = read::generic(text)
                .map_err(anyhow::Error::msg)
                .context(place)?;
            let sum = here.entry(kind).or_default();
            *sum = sum.saturating_add(amount);
        }
        found.extend(here);
    }
    Ok(found)
}

fn read_file(named: Option<&Path>) -> anyhow::Result<File> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(File::default());
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read the configuration {}", path.display()));
        }
    };
    toml::from_str(&text).with_context(|| format!("the configuration {} is wrong", path.display()))
}

/// The socket's path in an address such as `unix:///run/skep/skep.sock`.
///
/// # Errors
/// Says what is expected.
pub fn socket_of(address: &str) -> anyhow::Result<PathBuf> {
    match address.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => bail!("host \"{address}\": expected unix:///PATH, such as unix:///run/skep/skep.sock"),
    }
}

fn absolute(option: &str, path: PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("{option} {}", path.display()))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
