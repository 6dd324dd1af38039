//! Docker's `config.json`: what else is in it stays as it is.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use skep_proto::image::RegistryAuth;

use super::program;

/// Under which docker.io is kept.
const DOCKER_IO: &str = "https://index.docker.io/v1/";
/// A helper's user name for an identity token.
const TOKEN: &str = "<token>";

/// Logins of this user.
pub(super) struct Logins {
    path: PathBuf,
    file: Map<String, Value>,
}

impl Logins {
    /// Reads `$DOCKER_CONFIG/config.json`, by default `~/.docker/config.json`; none is an empty one.
    pub(super) fn open() -> anyhow::Result<Self> {
        let directory = match std::env::var_os("DOCKER_CONFIG") {
            Some(directory) => PathBuf::from(directory),
            None => {
                let home = std::env::var_os("HOME").context(
                    "HOME is not set: say with DOCKER_CONFIG in which directory logins are kept",
                )?;
                Path::new(&home).join(".docker")
            }
        };
        Self::read(&directory.join("config.json"))
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
            Ok(bytes) if bytes.trim_ascii().is_empty() => Map::new(),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not Docker's configuration", path.display()))?,
        };
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Where they are kept, for a person.
    pub(super) fn place(&self, registry: &str) -> String {
        match self.program(registry) {
            Some(program) => format!("docker-credential-{program}"),
            None => self.path.display().to_string(),
        }
    }

    /// The login for a registry.
    pub(super) fn get(&self, registry: &str) -> anyhow::Result<Option<RegistryAuth>> {
        if let Some(program) = self.program(registry) {
            let found = program::get(&program, key(registry))?;
            return Ok(found.map(|(name, secret)| auth(name, secret)));
        }
        let auths = self.file.get("auths").and_then(Value::as_object);
        let Some(auths) = auths else { return Ok(None) };
        let same = |written: &&String| super::registry(Some(written)) == registry;
        let exact = auths.get_key_value(key(registry));
        let entry = exact.or_else(|| auths.iter().find(|(written, _)| same(written)));
        let Some((_, entry)) = entry else {
            return Ok(None);
        };
        self.read_entry(registry, entry)
    }

    fn read_entry(&self, registry: &str, entry: &Value) -> anyhow::Result<Option<RegistryAuth>> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let identity_token = text("identitytoken").to_owned();
        let (mut username, mut password) =
            (text("username").to_owned(), text("password").to_owned());
        if !text("auth").is_empty() {
            let wrong = || {
                format!(
                    "{}: auths: {registry}: auth is not NAME:PASSWORD in base 64",
                    self.path.display()
                )
            };
            let bytes = data_encoding::BASE64
                .decode(text("auth").as_bytes())
                .with_context(wrong)?;
            let decoded = String::from_utf8(bytes).with_context(wrong)?;
            let (name, secret) = decoded.split_once(':').with_context(wrong)?;
            username = name.to_owned();
            password = secret.trim_end_matches('\0').to_owned();
        }
        if username.is_empty() && identity_token.is_empty() {
            return Ok(None);
        }
        Ok(Some(RegistryAuth {
            username,
            password,
            identity_token,
        }))
    }

    /// Keeps a login.
    pub(super) fn put(&mut self, registry: &str, auth: &RegistryAuth) -> anyhow::Result<()> {
        if let Some(program) = self.program(registry) {
            let (name, secret) = match auth.identity_token.as_str() {
                "" => (auth.username.as_str(), auth.password.as_str()),
                token => (TOKEN, token),
            };
            return program::store(&program, key(registry), name, secret);
        }
        let mut entry = Map::new();
        let secret = match auth.identity_token.as_str() {
            "" => auth.password.as_str(),
            token => {
                entry.insert("identitytoken".to_owned(), json!(token));
                ""
            }
        };
        let pair = format!("{}:{secret}", auth.username);
        entry.insert(
            "auth".to_owned(),
            json!(data_encoding::BASE64.encode(pair.as_bytes())),
        );
        let auths = self.file.entry("auths").or_insert_with(|| json!({}));
        let Some(auths) = auths.as_object_mut() else {
            bail!("{}: auths is not an object", self.path.display());
        };
        auths.insert(key(registry).to_owned(), Value::Object(entry));
        self.write()
    }

    /// Forgets a login; says whether there was one.
    pub(super) fn remove(&mut self, registry: &str) -> anyhow::Result<bool> {
        let mut known = false;
        if let Some(program) = self.program(registry) {
            known = program::erase(&program, key(registry))?;
        }
        if let Some(auths) = self.file.get_mut("auths").and_then(Value::as_object_mut) {
            let before = auths.len();
            auths.retain(|written, _| super::registry(Some(written)) != registry);
            if auths.len() != before {
                known = true;
                self.write()?;
            }
        }
        Ok(known)
    }

    /// The program that keeps a registry's login, if the file names one.
    fn program(&self, registry: &str) -> Option<String> {
        let own = self.file.get("credHelpers").and_then(Value::as_object);
        let own = own.and_then(|own| own.get(registry).or_else(|| own.get(key(registry))));
        let named = own.or_else(|| self.file.get("credsStore"))?.as_str()?;
        Some(named.to_owned()).filter(|named| !named.is_empty())
    }

    /// Whole or not at all, and readable by this user alone.
    fn write(&self) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        let directory = self.path.parent().context("a file without a directory")?;
        fs::create_dir_all(directory).with_context(failed)?;
        let fresh = directory.join(format!(".config.json.{:08x}", rand::random::<u32>()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .with_context(failed)?;
        let mut text = serde_json::to_string_pretty(&self.file)?;
        text.push('\n');
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
        let written = written.and_then(|()| fs::rename(&fresh, &self.path));
        if written.is_err() {
            drop(fs::remove_file(&fresh));
        }
        written.with_context(failed)
    }
}

fn auth(name: String, secret: String) -> RegistryAuth {
    match name.as_str() {
        TOKEN => RegistryAuth {
            identity_token: secret,
            ..RegistryAuth::default()
        },
        _ => RegistryAuth {
            username: name,
            password: secret,
            identity_token: String::new(),
        },
    }
}

fn key(registry: &str) -> &str {
    match registry {
        "docker.io" => DOCKER_IO,
        other => other,
    }
}
