//! Files and variables that exist only in a test.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use skep_deploy::stack::{Project, Request, ServiceWanted, Surroundings, Wanted, convert};

/// Where the files of tests lie.
pub const DIRECTORY: &str = "/project";

/// Files by their path below [`DIRECTORY`], and variables.
#[derive(Default, Clone)]
pub struct Desk {
    pub files: BTreeMap<PathBuf, String>,
    pub variables: BTreeMap<String, String>,
    pub profiles: BTreeSet<String>,
    pub env_files: Vec<PathBuf>,
    pub named: Vec<PathBuf>,
}

impl Desk {
    /// With one compose file.
    pub fn new(compose: &str) -> Self {
        let mut desk = Self::default();
        desk.named.push("compose.yaml".into());
        desk.file("compose.yaml", compose)
    }

    /// With one more file.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files
            .insert(Path::new(DIRECTORY).join(path), text.to_owned());
        self
    }

    /// With one more compose file on top.
    pub fn over(mut self, path: &str, text: &str) -> Self {
        self.named.push(path.into());
        self.file(path, text)
    }

    /// With one more variable.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// With one more profile.
    pub fn profile(mut self, name: &str) -> Self {
        self.profiles.insert(name.into());
        self
    }

    fn with<T>(&self, act: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let read = |path: &Path| {
            let text = self.files.get(path);
            let bytes = text.map(|text| text.clone().into_bytes());
            bytes.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        act(&Surroundings {
            read: &read,
            variables: self.variables.clone(),
            directory: DIRECTORY.into(),
        })
    }

    /// The project, or the trouble as a user reads it.
    pub fn project(&self) -> Result<Project, String> {
        let request = Request {
            files: self.named.clone(),
            env_files: self.env_files.clone(),
            profiles: self.profiles.clone(),
        };
        self.with(|around| Project::load(&request, around).map_err(|trouble| trouble.to_string()))
    }

    /// What it asks of a cluster as stack `shop`.
    pub fn wanted(&self) -> Result<Wanted, String> {
        let project = self.project()?;
        self.with(|around| convert("shop", &project, around).map_err(|trouble| trouble.to_string()))
    }

    /// What `config` prints; it must be the same when it is read again.
    pub fn config(&self) -> String {
        let text = self.project().unwrap().canonical();
        let again = Self {
            files: self.files.clone(),
            ..Self::default()
        };
        let mut again = again.file("again.yaml", &text);
        again.named = vec!["again.yaml".into()];
        let second = again
            .project()
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(second.canonical(), text, "config of config is the same");
        text
    }
}

/// The one service of a file in which it is called `web` and has these lines.
pub fn service(lines: &str) -> ServiceWanted {
    try_service(lines).unwrap()
}

/// As [`service`], or what is wrong.
pub fn try_service(lines: &str) -> Result<ServiceWanted, String> {
    let mut wanted = Desk::new(&web(lines)).wanted()?;
    Ok(wanted.services.remove(0))
}

/// A file with the service `web`, whose lines these are. The first of them is line 4, column 5.
pub fn web(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  web:\n    image: nginx\n{indented}")
}
