//! Contexts as files: `contexts/NAME/context.json` and `contexts/NAME/token` below skep's own directory of the user.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use skep_proto::channel::AccessToken;
use skep_proto::validate;

use super::DEFAULT;
use crate::output;

/// Which context is in use.
const CURRENT: &str = "current-context";

/// A context.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// As it was given: `tcp://HOST:PORT,…`.
    pub host: String,
    /// What lets this user in.
    pub token: AccessToken,
}

/// What stands in a file for all to read.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    description: String,
    host: String,
}

/// Contexts of this user.
pub struct Store(PathBuf);

impl Store {
    /// Those in `$XDG_CONFIG_HOME/skep`, by default `~/.config/skep`.
    ///
    /// # Errors
    /// When it is not known where that is.
    pub fn open() -> anyhow::Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let base = match variable("XDG_CONFIG_HOME") {
            Some(base) => PathBuf::from(base),
            None => {
                let home = variable("HOME").context(
                    "HOME is not set: say with XDG_CONFIG_HOME in which directory contexts are kept",
                )?;
                Path::new(&home).join(".config")
            }
        };
        Ok(Self::at(&base.join("skep")))
    }

    /// Those below a directory.
    pub fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.0.join("contexts").join(name)
    }

    /// The context in use.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn current(&self) -> anyhow::Result<String> {
        let path = self.0.join(CURRENT);
        match fs::read_to_string(&path) {
            Ok(name) if name.trim().is_empty() => Ok(DEFAULT.to_owned()),
            Ok(name) => Ok(name.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(DEFAULT.to_owned()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Uses this context from now on.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn turn_to(&self, name: &str) -> anyhow::Result<()> {
        if name != DEFAULT {
            self.read(name)?;
        }
        write(&self.0, CURRENT, format!("{name}\n").as_bytes())
    }

    /// Names of all contexts, ascending.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let path = self.0.join("contexts");
        let cannot = || format!("cannot read {}", path.display());
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(cannot)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.with_context(cannot)?.file_name().into_string();
            names.extend(name.ok().filter(|name| checked(name).is_ok()));
        }
        names.sort();
        Ok(names)
    }

    /// One context.
    ///
    /// # Errors
    /// When there is none, or its files cannot be read.
    pub fn read(&self, name: &str) -> anyhow::Result<Kept> {
        checked(name)?;
        let directory = self.directory(name);
        let path = directory.join("context.json");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "there is no context \"{name}\"; see what there is with: skep context ls, or make it with: skep \
                 context create"
            ),
            bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let written: Written = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged; make the context anew", path.display()))?;
        Ok(Kept {
            name: name.to_owned(),
            description: written.description,
            host: written.host,
            token: token(&directory.join("token"))?,
        })
    }

    /// Keeps a new context.
    ///
    /// # Errors
    /// When there is one of this name, or its files cannot be written.
    pub fn create(&self, kept: &Kept) -> anyhow::Result<()> {
        let name = &kept.name;
        checked(name)?;
        let directory = self.directory(name);
        ensure!(
            !directory.join("context.json").exists(),
            "there is a context \"{name}\" already; choose another name, or remove it with: skep context rm {name}"
        );
        let written = Written {
            description: kept.description.clone(),
            host: kept.host.clone(),
        };
        write(&directory, "token", format!("{}\n", kept.token).as_bytes())?;
        // It comes last: without it there is no context.
        let written = serde_json::to_vec_pretty(&written)?;
        write(&directory, "context.json", &written)
    }

    /// Removes a context and its token.
    ///
    /// # Errors
    /// When there is none, or it cannot be removed.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        checked(name)?;
        let directory = self.directory(name);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no context \"{name}\"; see what there is with: skep context ls")
            }
            other => other.with_context(|| format!("cannot remove {}", directory.display())),
        }
    }
}

/// A name that can be one of a directory.
fn checked(name: &str) -> anyhow::Result<()> {
    ensure!(
        name != DEFAULT,
        "the context \"{DEFAULT}\" is the daemon of this machine; it is neither made nor removed"
    );
    Ok(validate::name("NAME", name)?)
}

/// The token in a file; one that others can read is used, and said to be so.
fn token(path: &Path) -> anyhow::Result<AccessToken> {
    let cannot = || format!("cannot read {}", path.display());
    let mode = fs::metadata(path)
        .with_context(cannot)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        output::notice(&format!(
            "Warning: others can read the token in {0}; mend it with: chmod 600 {0}",
            path.display()
        ));
    }
    let text = fs::read_to_string(path).with_context(cannot)?;
    text.parse()
        .with_context(|| format!("the token in {}", path.display()))
}

/// Writes a file of this user alone: whole, or not at all.
fn write(directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = directory.join(name);
    let cannot = || format!("cannot write {}", path.display());
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).with_context(cannot)?;
    let half = directory.join(format!(".{name}.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&half)
        .with_context(cannot)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written
        .and_then(|()| fs::rename(&half, &path))
        .with_context(cannot)
}
