//! `skep volume`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};
use skep_proto::time::WallTime;
use skep_proto::validate;
use skep_proto::wire::v1;

use super::client::{Client, said};
use super::rows::time;
use super::{for_each, labels};
use crate::args::volume::{CreateArgs, PruneArgs, RmArgs, VolumeCommand};
use crate::args::{InspectArgs, ListArgs};
use crate::output::{self, Column};

/// Does what `skep volume …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: VolumeCommand) -> anyhow::Result<ExitCode> {
    match command {
        VolumeCommand::Create(args) => create(client, args).await,
        VolumeCommand::Ls(args) => ls(client, args).await,
        VolumeCommand::Inspect(args) => inspect(client, args).await,
        VolumeCommand::Rm(args) => rm(client, args).await,
        VolumeCommand::Prune(args) => prune(client, args).await,
    }
}

/// A volume in a list.
#[derive(Serialize, Debug)]
struct VolumeRow {
    name: String,
    /// `local`
    driver: String,
    /// `local`: it is its node's.
    scope: String,
    mountpoint: String,
    node: String,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    created: String,
    /// Names of the tasks that use it.
    users: Vec<String>,
    /// Nothing uses it.
    dangling: bool,
}

impl VolumeRow {
    fn of(volume: v1::Volume) -> Self {
        Self {
            name: volume.name,
            driver: "local".into(),
            scope: "local".into(),
            mountpoint: volume.path,
            node: volume.node,
            labels: volume.labels,
            options: volume.options,
            created: time(WallTime::from_unix_millis(volume.created_ms)),
            dangling: volume.users.is_empty(),
            users: volume.users,
        }
    }

    /// As Docker shows it.
    fn sheet(&self) -> Value {
        json!({
            "CreatedAt": self.created,
            "Driver": self.driver,
            "Labels": self.labels,
            "Mountpoint": self.mountpoint,
            "Name": self.name,
            "Options": self.options,
            "Scope": self.scope,
            "Node": self.node,
            "Users": self.users,
        })
    }
}

const COLUMNS: &[Column<VolumeRow>] = &[
    ("DRIVER", |row, _| row.driver.clone()),
    ("VOLUME NAME", |row, width| width.id(&row.name)),
    ("USED BY", |row, _| row.users.join(", ")),
];

async fn create(client: &Client, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let options = labels(&args.opt)?;
    validate::volume_driver("--opt", Some(&args.driver), &options)?;
    let message = v1::CreateVolumeRequest {
        name: args.name,
        options,
        labels: labels(&args.label)?,
    };
    let mut volumes = client.volumes.clone();
    let made = volumes.create_volume(message).await;
    let made = made.map_err(|status| said(&status))?.into_inner();
    output::line(&made.name)?;
    Ok(ExitCode::SUCCESS)
}

async fn all(client: &Client) -> anyhow::Result<Vec<VolumeRow>> {
    let mut volumes = client.volumes.clone();
    let answer = volumes.list_volumes(v1::ListVolumesRequest {}).await;
    let answer = answer.map_err(|status| said(&status))?.into_inner();
    Ok(answer.volumes.into_iter().map(VolumeRow::of).collect())
}

async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let rows = all(client).await?;
    output::list(&rows, COLUMNS, |row| &row.name, &args)?;
    Ok(ExitCode::SUCCESS)
}

async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let (form, mut rows, mut sheets) = (args.form(), Vec::new(), Vec::new());
    for name in args.objects {
        let mut volumes = client.volumes.clone();
        let found = volumes.get_volume(v1::GetVolumeRequest { name }).await;
        let row = VolumeRow::of(found.map_err(|status| said(&status))?.into_inner());
        sheets.push(row.sheet());
        rows.push(row);
    }
    output::inspected(&rows, &sheets, form)?;
    Ok(ExitCode::SUCCESS)
}

async fn remove(client: &Client, name: String) -> Result<(), tonic::Status> {
    let mut volumes = client.volumes.clone();
    let message = v1::RemoveVolumeRequest { name };
    volumes.remove_volume(message).await.map(|_| ())
}

async fn rm(client: &Client, args: RmArgs) -> anyhow::Result<ExitCode> {
    let force = args.force;
    for_each(&args.volumes, |name| async move {
        match remove(client, name.clone()).await {
            Err(status) if force && status.code() == tonic::Code::NotFound => Ok(()),
            Err(status) => Err(said(&status)),
            Ok(()) => Ok(output::line(&name)?),
        }
    })
    .await
}

async fn prune(client: &Client, args: PruneArgs) -> anyhow::Result<ExitCode> {
    let filters = args.filter.iter().map(|text| LabelFilter::read(text));
    let filters = filters.collect::<anyhow::Result<Vec<_>>>()?;
    if !args.force && !agreed(args.all)? {
        return Ok(ExitCode::SUCCESS);
    }
    let which = |row: &VolumeRow| {
        let anonymous = row.labels.contains_key(ANONYMOUS);
        let fits = filters.iter().all(|filter| filter.fits(&row.labels));
        fits && (anonymous || args.all)
    };
    prune_those(client, which).await?;
    Ok(ExitCode::SUCCESS)
}

/// Removes the volumes without a name that nothing uses; gives the names of those that are gone.
///
/// # Errors
/// What the user is to read.
pub async fn prune_anonymous(client: &Client) -> anyhow::Result<Vec<String>> {
    prune_those(client, |row| row.labels.contains_key(ANONYMOUS)).await
}

async fn prune_those(
    client: &Client,
    which: impl Fn(&VolumeRow) -> bool,
) -> anyhow::Result<Vec<String>> {
    let mut gone = Vec::new();
    for row in all(client).await? {
        if !row.dangling || !which(&row) {
            continue;
        }
        match remove(client, row.name.clone()).await {
            Ok(()) => {
                output::line(&row.name)?;
                gone.push(row.name);
            }
            // A task took it meanwhile, or it went with one.
            Err(status) => output::notice(&format!("{} stays: {}", row.name, status.message())),
        }
    }
    Ok(gone)
}

/// The label of a volume without a name; Docker's.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// Asks a person; whoever is none has to say --force.
fn agreed(every: bool) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    anyhow::ensure!(
        stdin.is_terminal(),
        "this removes volumes with their content; say --force where nobody can be asked"
    );
    let which = if every { "all" } else { "all anonymous" };
    let mut prompt = std::io::stderr();
    write!(
        prompt,
        "This removes {which} volumes of this node that nothing uses, with their content. \
         Are you sure? [y/N] "
    )?;
    prompt.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `label=NAME[=VALUE]` or `label!=NAME[=VALUE]`.
struct LabelFilter {
    name: String,
    value: Option<String>,
    wanted: bool,
}

impl LabelFilter {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (label, wanted) = match (text.strip_prefix("label="), text.strip_prefix("label!=")) {
            (Some(label), _) => (label, true),
            (_, Some(label)) => (label, false),
            _ => {
                anyhow::bail!("--filter {text}: expected label=NAME[=VALUE] or label!=NAME[=VALUE]")
            }
        };
        let (name, value) = match label.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (label, None),
        };
        Ok(Self {
            name: name.to_owned(),
            value,
            wanted,
        })
    }

    fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = match (labels.get(&self.name), &self.value) {
            (Some(held), Some(value)) => held == value,
            (held, _) => held.is_some(),
        };
        has == self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_apart() {
        let labels = [("team".to_owned(), "a".to_owned())].into();
        for (text, expected) in [
            ("label=team", true),
            ("label=team=a", true),
            ("label=team=b", false),
            ("label!=team", false),
            ("label!=other", true),
        ] {
            assert_eq!(
                LabelFilter::read(text).unwrap().fits(&labels),
                expected,
                "{text}"
            );
        }
        assert!(LabelFilter::read("name=x").is_err());
    }
}
