//! What services share: networks, volumes, secrets, configs. Pure.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skep_proto::file::FileKind;
use skep_proto::network::NetworkSpec;
use skep_proto::validate;

use super::Names;
use super::fields::Fields;
use crate::stack::place::Trouble;
use crate::stack::wanted::{FileWanted, NAMESPACE, NetworkWanted};

/// The name in the cluster: the one that is said, else `STACK_KEY`; one that is not ours keeps its own.
fn name(key: &str, fields: &Fields<'_>, names: &Names<'_>) -> Result<(String, bool), Trouble> {
    let external = fields.flag("external")?;
    let name = match fields.text("name")? {
        Some(name) => name.to_owned(),
        None if external => key.to_owned(),
        None => names.prefixed(key),
    };
    Ok((name, external))
}

fn labels(fields: &Fields<'_>, names: &Names<'_>) -> Result<BTreeMap<String, String>, Trouble> {
    let mut labels = fields.table("labels")?;
    labels.insert(NAMESPACE.into(), names.stack.to_owned());
    Ok(labels)
}

/// A network.
pub fn network(
    key: &str,
    fields: &Fields<'_>,
    names: &Names<'_>,
) -> Result<NetworkWanted, Trouble> {
    let (name, external) = name(key, fields, names)?;
    let driver = fields.text("driver")?.unwrap_or("overlay");
    if !matches!(driver, "overlay" | "") {
        return Err(fields.wrong_at(
            "driver",
            format!("\"{driver}\": the networks of a stack are overlays; leave the line out"),
        ));
    }
    let (subnet, gateway) = ranges(fields)?;
    let spec = NetworkSpec {
        name,
        labels: labels(fields, names)?,
        internal: fields.flag("internal")?,
        attachable: fields.flag("attachable")?,
        ingress: false,
        subnet,
        gateway,
        mtu: mtu(fields)?,
    };
    validate::network(&spec).map_err(|error| fields.wrong(error))?;
    Ok(NetworkWanted {
        at: fields.place().clone(),
        spec,
        external,
    })
}

fn mtu(fields: &Fields<'_>) -> Result<Option<u16>, Trouble> {
    let mut mtu = None;
    for (option, value) in fields.table("driver_opts")? {
        match option.as_str() {
            "com.docker.network.driver.mtu" | "mtu" => {
                let number = value.parse();
                mtu = Some(number.map_err(|_| {
                    let reason = format!("{option}: \"{value}\" is not a number of bytes");
                    fields.wrong_at("driver_opts", reason)
                })?);
            }
            "com.docker.network.driver.overlay.vxlanid_list" => {}
            "encrypted" if matches!(value.as_str(), "false" | "0") => {}
            "encrypted" => {
                return Err(fields.wrong_at(
                    "driver_opts",
                    "encrypted: this release cannot encrypt a network, and does not pretend to; \
                     leave the line out",
                ));
            }
            other => {
                let reason =
                    format!("unknown option \"{other}\"; there is com.docker.network.driver.mtu");
                return Err(fields.wrong_at("driver_opts", reason));
            }
        }
    }
    Ok(mtu)
}

fn ranges(fields: &Fields<'_>) -> Result<(Option<Ipv4Net>, Option<Ipv4Addr>), Trouble> {
    let Some(ipam) = fields.below("ipam")? else {
        return Ok((None, None));
    };
    if let Some(driver) = ipam.text("driver")?.filter(|driver| *driver != "default") {
        return Err(ipam.wrong_at("driver", format!("\"{driver}\": there is only default")));
    }
    let configs = ipam.items("config")?;
    if configs.len() > 1 {
        return Err(ipam.wrong_at("config", "a network has one range; leave the others out"));
    }
    let Some(config) = configs.first() else {
        return Ok((None, None));
    };
    let subnet = config.read("subnet", |text| {
        text.parse()
            .map_err(|_| format!("\"{text}\" is not a range such as 10.5.0.0/16"))
    })?;
    let gateway = config.read("gateway", |text| {
        text.parse()
            .map_err(|_| format!("\"{text}\" is not an address such as 10.5.0.1"))
    })?;
    Ok((subnet, gateway))
}

/// A volume as the file defines it.
pub struct VolumeDefined {
    /// Its name on the node.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Options for it.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume. It is made where a task needs it.
pub fn volume(key: &str, fields: &Fields<'_>, names: &Names<'_>) -> Result<VolumeDefined, Trouble> {
    let (name, external) = name(key, fields, names)?;
    Ok(VolumeDefined {
        name,
        driver: fields.owned("driver")?.filter(|driver| !driver.is_empty()),
        options: fields.table("driver_opts")?,
        labels: if external {
            BTreeMap::new()
        } else {
            labels(fields, names)?
        },
    })
}

/// A secret or config, with its content.
pub fn filed(
    kind: FileKind,
    key: &str,
    fields: &Fields<'_>,
    names: &Names<'_>,
    variables: &BTreeMap<String, String>,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<FileWanted, Trouble> {
    let (name, external) = name(key, fields, names)?;
    let sources = ["file", "environment", "content"];
    let given: Vec<&str> = sources
        .into_iter()
        .filter(|source| fields.get(source).is_some())
        .collect();
    let content = match given[..] {
        [] if external => None,
        [] => {
            return Err(fields.wrong(
                "where its content comes from is missing: file, environment or content, or external: true",
            ));
        }
        [source] if external => {
            return Err(fields.wrong_at(source, "it is external: its content is in the cluster"));
        }
        ["file"] => Some(read(fields.needed("file")?).map_err(|error| {
            let reason = if error.kind() == io::ErrorKind::NotFound {
                "does not exist".to_owned()
            } else {
                format!("cannot be read: {error}")
            };
            let file = fields.text("file").ok().flatten().unwrap_or_default();
            fields.wrong_at("file", format!("{file} {reason}"))
        })?),
        ["environment"] => {
            let variable = fields.needed("environment")?;
            let value = variables.get(variable).ok_or_else(|| {
                fields.wrong_at("environment", format!("variable {variable} is not set"))
            })?;
            Some(value.clone().into_bytes())
        }
        ["content"] => Some(fields.needed("content")?.as_bytes().to_vec()),
        [first, second, ..] => {
            return Err(fields.wrong_at(second, format!("its content comes from {first} already")));
        }
        [_] => None,
    };
    if let Some(content) = &content {
        validate::content(kind, &name, content.len())
            .map_err(|error| fields.wrong(error.reason))?;
    }
    Ok(FileWanted {
        at: fields.place().clone(),
        name,
        labels: labels(fields, names)?,
        content,
    })
}
