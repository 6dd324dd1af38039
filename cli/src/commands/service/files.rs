//! Secrets and configs of a service: looks up what was named.

use anyhow::Context;
use skep_proto::file::{FileId, FileKind};
use skep_proto::ids::{ConfigId, SecretId};
use skep_proto::spec::{ContainerSpec, FileUse};

use crate::args::read::file::Wish;
use crate::args::service::UpdateContainerArgs;
use crate::commands::client::Client;
use crate::commands::file;

/// What a service is to be given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Files {
    /// Secrets.
    pub secrets: Vec<FileUse<SecretId>>,
    /// Configs.
    pub configs: Vec<FileUse<ConfigId>>,
}

/// Looks up what was named.
///
/// # Errors
/// When one is not there: with the names that are near.
pub async fn find(client: &Client, secrets: &[Wish], configs: &[Wish]) -> anyhow::Result<Files> {
    let mut files = Files::default();
    for wish in secrets {
        if let FileId::Secret(id) = one(client, FileKind::Secret, wish).await? {
            files.secrets.push(used(FileKind::Secret, id, wish));
        }
    }
    for wish in configs {
        if let FileId::Config(id) = one(client, FileKind::Config, wish).await? {
            files.configs.push(used(FileKind::Config, id, wish));
        }
    }
    Ok(files)
}

async fn one(client: &Client, kind: FileKind, wish: &Wish) -> anyhow::Result<FileId> {
    let found = file::find(client, kind, &wish.source).await;
    let found = found.with_context(|| format!("--{kind} {}", wish.source))?;
    let file = found.file.and_then(|file| file.id);
    Ok(FileId::try_from(file.context("an answer without an id")?)?)
}

fn used<I>(kind: FileKind, id: I, wish: &Wish) -> FileUse<I> {
    let target = wish.target.as_deref().unwrap_or(&wish.source);
    FileUse {
        id,
        name: wish.source.clone(),
        target: match target.starts_with('/') {
            true => target.to_owned(),
            false => kind.target(target),
        },
        uid: wish.uid,
        gid: wish.gid,
        mode: wish.mode,
        revision: None,
    }
}

/// Takes away and adds what was typed; a new one takes the place of what shows where it is to show.
pub fn change(spec: &mut ContainerSpec, args: &UpdateContainerArgs, added: Files) {
    exchange(&mut spec.secrets, &args.secret_rm, added.secrets);
    exchange(&mut spec.configs, &args.config_rm, added.configs);
}

fn exchange<I: ToString>(held: &mut Vec<FileUse<I>>, removed: &[String], added: Vec<FileUse<I>>) {
    held.retain(|used| {
        let anew = added.iter().any(|it| it.target == used.target);
        let named = |it: &String| *it == used.name || *it == used.id.to_string();
        !anew && !removed.iter().any(named)
    });
    held.extend(added);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_takes_the_place_of_what_showed_there() {
        let used = |id: u128, name: &str, target: &str| FileUse {
            id: SecretId::new(id),
            name: name.into(),
            target: target.into(),
            uid: 0,
            gid: 0,
            mode: 0o444,
            revision: None,
        };
        let mut spec = ContainerSpec::new("x");
        spec.secrets = vec![used(1, "a", "/a"), used(2, "b", "/b"), used(3, "c", "/c")];
        let args = UpdateContainerArgs {
            secret_rm: vec!["a".into()],
            ..UpdateContainerArgs::default()
        };
        let added = Files {
            secrets: vec![used(4, "d", "/b")],
            ..Files::default()
        };
        change(&mut spec, &args, added);
        assert_eq!(spec.secrets, [used(3, "c", "/c"), used(4, "d", "/b")]);
    }
}
