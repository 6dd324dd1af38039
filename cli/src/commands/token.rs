//! `skep token`.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::{Value, json};
use skep_proto::channel::AccessToken;
use skep_proto::ids::TokenId;
use skep_proto::time::WallTime;
use skep_proto::token::{DeployBounds, Token, TokenRole, TokenSpec, secret_digest};
use skep_proto::validate;
use skep_proto::wire::{self, WireId, v1};

use super::client::{Client, persist, request};
use super::docker::time as docker_time;
use super::for_each;
use super::rows::{ago, time};
use crate::args::token::{CreateArgs, Lasts, RoleWord, TokenCommand};
use crate::args::{InspectArgs, ListArgs, RemoveArgs};
use crate::output::{self, Column};

/// Does what `skep token …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create(args) => create(client, args).await,
        TokenCommand::Ls(args) => ls(client, args).await,
        TokenCommand::Inspect(args) => inspect(client, args).await,
        TokenCommand::Rm(args) => rm(client, args).await,
    }
}

fn spec(args: &CreateArgs) -> anyhow::Result<TokenSpec> {
    let bounds = DeployBounds {
        services: args.service.iter().cloned().collect::<BTreeSet<_>>(),
        images: args.image.clone(),
        replicas: args.replicas,
    };
    let role = match args.role {
        RoleWord::Deploy => TokenRole::Deploy(bounds),
        _ if bounds != DeployBounds::default() => {
            bail!(
                "--service, --image and --replicas say how far a deploy token goes; add --role deploy"
            )
        }
        RoleWord::Admin => TokenRole::Admin,
        RoleWord::Read => TokenRole::Read,
    };
    let name = args.name.clone();
    let spec = TokenSpec { name, role };
    validate::token(&spec)?;
    Ok(spec)
}

/// The secret is drawn here and goes nowhere but to whoever asked: the cluster is told its digest.
async fn create(client: &Client, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let spec = spec(&args)?;
    let (id, secret) = (TokenId::new(rand::random()), rand::random::<[u8; 32]>());
    let message = v1::CreateTokenRequest {
        request: request(),
        id: id.to_bytes(),
        digest: secret_digest(&secret).0.to_vec(),
        spec: Some((&spec).into()),
        lasts_ms: match args.expires.unwrap_or_default() {
            Lasts::For(lasts) => Some(wire::millis(lasts)),
            Lasts::Always => None,
        },
    };
    let answer = persist(|| {
        let (mut tokens, message) = (client.tokens.clone(), message.clone());
        async move { tokens.create_token(message).await }
    })
    .await?;
    let token = AccessToken {
        root_digest: wire::digest(&answer.root_digest, "root_digest")?.0,
        id,
        secret,
    };
    let file = match &args.output {
        None => {
            output::line(&token.to_string())?;
            "FILE".to_owned()
        }
        Some(path) => {
            keep(path, &token)?;
            path.display().to_string()
        }
    };
    let until = answer.expires_ms.map(WallTime::from_unix_millis);
    let until = until.map_or("until it is removed".into(), |at| {
        format!("until {}", time(at))
    });
    output::notice(&format!(
        "Token \"{}\" is valid {until}. It is not shown again. Where it is to be used:\n\n    \
         skep context create NAME --host tcp://{} --token {file}",
        spec.name,
        answer.managers.join(",")
    ));
    Ok(ExitCode::SUCCESS)
}

fn keep(path: &Path, token: &AccessToken) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(format!("{token}\n").as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| {
        format!(
            "cannot write {}; the token was made and is lost: remove it with skep token rm",
            path.display()
        )
    })
}

/// A token in a list.
#[derive(Serialize, Debug)]
struct TokenRow {
    id: String,
    name: String,
    /// `admin`, `read` or `deploy`.
    role: &'static str,
    /// Names of services; empty but for a deploy token.
    services: Vec<String>,
    /// Patterns.
    images: Vec<String>,
    /// As MIN..MAX.
    replicas: Option<String>,
    created: String,
    /// Who made it.
    by: String,
    /// Absent: never.
    expires: Option<String>,
    expired: bool,
}

impl TokenRow {
    fn of(token: &Token) -> Self {
        let none = DeployBounds::default();
        let bounds = match &token.spec.role {
            TokenRole::Deploy(bounds) => bounds,
            TokenRole::Admin | TokenRole::Read => &none,
        };
        Self {
            id: token.id.to_string(),
            name: token.spec.name.clone(),
            role: token.spec.role.word(),
            services: bounds.services.iter().cloned().collect(),
            images: bounds.images.iter().map(ToString::to_string).collect(),
            replicas: bounds.replicas.map(|range| range.to_string()),
            created: time(token.created),
            by: token.by.clone(),
            expires: token.expires.map(time),
            expired: token.expired(skep_manager::wall_time()),
        }
    }
}

const COLUMNS: &[Column<TokenRow>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("NAME", |row, _| row.name.clone()),
    ("ROLE", |row, _| row.role.to_owned()),
    ("SERVICES", |row, width| {
        width.text(&row.services.join(", "))
    }),
    ("CREATED", |row, _| ago(&row.created)),
    ("BY", |row, _| row.by.clone()),
    ("EXPIRES", |row, _| match (&row.expires, row.expired) {
        (None, _) => "never".to_owned(),
        (Some(at), false) => at.clone(),
        (Some(at), true) => format!("expired {}", ago(at)),
    }),
];

async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let answer = persist(|| {
        let mut tokens = client.tokens.clone();
        async move { tokens.list_tokens(v1::ListTokensRequest {}).await }
    })
    .await?;
    let mut rows = Vec::new();
    for token in answer.tokens {
        rows.push(TokenRow::of(&Token::try_from(token)?));
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    output::list(&rows, COLUMNS, |row| &row.id, &args)?;
    Ok(ExitCode::SUCCESS)
}

async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let (form, mut rows, mut sheets) = (args.form(), Vec::new(), Vec::new());
    for reference in &args.objects {
        let message = v1::GetTokenRequest {
            reference: reference.clone(),
        };
        let token = persist(|| {
            let (mut tokens, message) = (client.tokens.clone(), message.clone());
            async move { tokens.get_token(message).await }
        })
        .await?;
        let token = Token::try_from(token)?;
        let row = TokenRow::of(&token);
        sheets.push(sheet(&token, &row));
        rows.push(row);
    }
    output::inspected(&rows, &sheets, form)?;
    Ok(ExitCode::SUCCESS)
}

fn sheet(token: &Token, row: &TokenRow) -> Value {
    json!({
        "ID": row.id,
        "Version": { "Index": token.version },
        "CreatedAt": docker_time(token.created),
        "CreatedBy": row.by,
        "ExpiresAt": token.expires.map(docker_time),
        "Expired": row.expired,
        "Spec": {
            "Name": row.name,
            "Role": row.role,
            "Services": row.services,
            "Images": row.images,
            "Replicas": row.replicas,
        },
    })
}

async fn rm(client: &Client, args: RemoveArgs) -> anyhow::Result<ExitCode> {
    for_each(&args.objects, |reference| async move {
        let message = v1::RemoveTokenRequest {
            request: request(),
            reference: reference.clone(),
        };
        persist(|| {
            let (mut tokens, message) = (client.tokens.clone(), message.clone());
            async move { tokens.remove_token(message).await }
        })
        .await?;
        Ok(output::line(&reference)?)
    })
    .await
}
