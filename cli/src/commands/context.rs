//! `skep context`. Needs no cluster: it is about files of this user.

use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Value, json};
use skep_proto::channel::AccessToken;

use crate::args::DEFAULT_HOST;
use crate::args::ListArgs;
use crate::args::context::{ContextCommand, CreateArgs, InspectArgs, RemoveArgs};
use crate::output::{self, Column};
use crate::reach::{DEFAULT, Kept, Said, Store, addresses};

/// Most bytes of a file with a token.
const LARGEST: u64 = 4096;

/// Does what `skep context …` says.
///
/// # Errors
/// What the user is to read.
pub fn run(command: ContextCommand, said: &Said) -> anyhow::Result<ExitCode> {
    match command {
        ContextCommand::Create(args) => create(args)?,
        ContextCommand::Ls(args) => ls(&args, said)?,
        ContextCommand::Use(args) => {
            Store::open()?.turn_to(&args.name)?;
            output::line(&args.name)?;
            overridden(said);
        }
        ContextCommand::Show => {
            let name = said.context()?;
            output::line(&name.unwrap_or_else(|| DEFAULT.to_owned()))?;
        }
        ContextCommand::Inspect(args) => inspect(&args, said)?,
        ContextCommand::Rm(args) => return rm(&args),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says so where the environment counts before the context in use.
fn overridden(said: &Said) {
    let variable = match (&said.host, &said.usual) {
        (Some(_), _) => "SKEP_HOST",
        (None, Some(_)) => "SKEP_CONTEXT",
        (None, None) => return,
    };
    output::notice(&format!(
        "Warning: {variable} is set and counts before the context in use"
    ));
}

fn create(args: CreateArgs) -> anyhow::Result<()> {
    addresses(&args.address)?;
    let kept = Kept {
        name: args.name,
        description: args.description,
        host: args.address,
        token: token(&args.token).context("--token")?,
    };
    Store::open()?.create(&kept)?;
    output::line(&kept.name)?;
    output::notice(&format!(
        "Use it with: skep context use {0}, or for one command: skep --context {0} …",
        kept.name
    ));
    Ok(())
}

fn token(path: &Path) -> anyhow::Result<AccessToken> {
    let mut text = String::new();
    if path == Path::new("-") {
        let read = io::stdin().lock().take(LARGEST).read_to_string(&mut text);
        read.context("cannot read the standard input")?;
    } else {
        let file = std::fs::File::open(path);
        let read = file.and_then(|file| file.take(LARGEST).read_to_string(&mut text));
        read.with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(text.parse()?)
}

/// A context in a list.
#[derive(Serialize, Debug)]
struct ContextRow {
    name: String,
    description: String,
    host: String,
    current: bool,
    /// Why it cannot be used; empty where it can.
    error: String,
}

const COLUMNS: &[Column<ContextRow>] = &[
    ("NAME", |row, _| {
        format!("{}{}", row.name, if row.current { " *" } else { "" })
    }),
    ("DESCRIPTION", |row, width| width.text(&row.description)),
    ("HOST", |row, width| width.text(&row.host)),
    ("ERROR", |row, width| width.text(&row.error)),
];

fn ls(args: &ListArgs, said: &Said) -> anyhow::Result<()> {
    let store = Store::open()?;
    let current = said.context()?;
    let mut rows = vec![ContextRow {
        name: DEFAULT.to_owned(),
        description: "The daemon of this machine".to_owned(),
        host: said.host.clone().unwrap_or_else(|| DEFAULT_HOST.to_owned()),
        current: current.as_deref().is_none_or(|name| name == DEFAULT),
        error: String::new(),
    }];
    for name in store.names()? {
        let read = store.read(&name);
        let error = read.as_ref().err();
        let error = error.map_or_else(String::new, |error| format!("{error:#}"));
        let kept = read.ok();
        let text =
            |part: fn(&Kept) -> &String| kept.as_ref().map(part).cloned().unwrap_or_default();
        rows.push(ContextRow {
            description: text(|kept| &kept.description),
            host: text(|kept| &kept.host),
            current: current.as_ref() == Some(&name),
            name,
            error,
        });
    }
    output::list(&rows, COLUMNS, |row| &row.name, args)?;
    overridden(said);
    Ok(())
}

fn inspect(args: &InspectArgs, said: &Said) -> anyhow::Result<()> {
    let (mut rows, mut sheets) = (Vec::new(), Vec::new());
    let names = match args.names.is_empty() {
        false => args.names.clone(),
        true => vec![said.context()?.unwrap_or_else(|| DEFAULT.to_owned())],
    };
    for name in names {
        let sheet = if name == DEFAULT {
            json!({ "Name": DEFAULT, "Endpoints": { "skep": { "Host": DEFAULT_HOST } } })
        } else {
            sheet(&Store::open()?.read(&name)?)
        };
        sheets.push(sheet.clone());
        rows.push(sheet);
    }
    output::inspected(&rows, &sheets, args.format.clone())
}

/// What proves the token is left out.
fn sheet(kept: &Kept) -> Value {
    json!({
        "Name": kept.name,
        "Metadata": { "Description": kept.description },
        "Endpoints": { "skep": { "Host": kept.host } },
        "Token": kept.token.id.to_string(),
        "RootDigest": format!("sha256:{}", HEXLOWER.encode(&kept.token.root_digest)),
    })
}

fn rm(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open()?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        match remove(&store, name, args) {
            Ok(()) => output::line(name)?,
            Err(error) => {
                output::notice(&format!("Error: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn remove(store: &Store, name: &str, args: &RemoveArgs) -> anyhow::Result<()> {
    let used = store.current()? == name;
    if used && !args.force {
        bail!(
            "context \"{name}\" is in use; use another with skep context use, or remove it with --force"
        );
    }
    store.remove(name)?;
    if used {
        store.turn_to(DEFAULT)?;
    }
    Ok(())
}
