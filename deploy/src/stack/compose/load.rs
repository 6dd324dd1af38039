//! Reads a project: its files with what they include and extend, merged, with its variables put in. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::canonical::{self, Base};
use super::interpolate::{Missing, interpolate};
use super::tree::{Map, Node, Value};
use super::{extend, keys, merge, parse, project, variables};
use crate::stack::place::{Place, Trouble};

/// Files that include each other may be nested so deeply.
const DEEPEST: usize = 16;
/// What is looked for where no file is named, the first that is there.
const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

/// What surrounds a project: its files and variables. The command line gives the machine's, a test its own.
pub struct Surroundings<'a> {
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The environment of the one who asks.
    pub variables: BTreeMap<String, String>,
    /// Where relative names of files begin.
    pub directory: PathBuf,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Compose files, the first one's directory being the project's. `-` is the standard input.
    pub files: Vec<PathBuf>,
    /// Files of variables instead of `.env`.
    pub env_files: Vec<PathBuf>,
    /// Profiles whose services are wanted too; `*` is all.
    pub profiles: BTreeSet<String>,
}

/// A project in its long form.
#[derive(Clone, Debug)]
pub struct Project {
    /// The whole.
    pub(in crate::stack) root: Node,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Project {
    /// Reads the files of `request`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(request: &Request, around: &Surroundings<'_>) -> Result<Self, Trouble> {
        let files = named_or_found(request, around)?;
        let first = files.first().cloned().unwrap_or_default();
        let directory = canonical::directory_of(&around.directory.join(&first));
        let mut loader = Loader {
            around,
            missing: Missing::default(),
            ignored: Vec::new(),
            depth: 0,
        };
        let env_files = request.env_files.iter();
        let env_files: Vec<PathBuf> = env_files.map(|file| around.directory.join(file)).collect();
        let names = loader.variables(&directory, &env_files, &around.variables)?;
        let root = loader.files(&files, &directory, &names)?;
        let mut warnings = loader.warnings();
        let root = project::finish(root, request, around, &names, &mut warnings)?;
        Ok(Self { root, warnings })
    }
}

fn named_or_found(request: &Request, around: &Surroundings<'_>) -> Result<Vec<PathBuf>, Trouble> {
    if !request.files.is_empty() {
        return Ok(request.files.clone());
    }
    let found = NAMES
        .iter()
        .find(|name| (around.read)(&around.directory.join(name)).is_ok());
    found.map(|name| vec![PathBuf::from(name)]).ok_or_else(|| {
        let place = Place::whole(&around.directory.to_string_lossy());
        let names = NAMES.join(", ");
        Trouble::new(
            &place,
            format!("there is none of {names}; name a file with -c"),
        )
    })
}

/// Reads files and keeps what is to be said about them.
pub(super) struct Loader<'a> {
    pub(super) around: &'a Surroundings<'a>,
    pub(super) missing: Missing,
    ignored: Vec<String>,
    depth: usize,
}

impl Loader<'_> {
    fn warnings(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.ignored.sort();
        self.ignored.dedup();
        if !self.ignored.is_empty() {
            warnings.push(format!(
                "these keys do not apply to a cluster and are ignored: {}",
                self.ignored.join(", ")
            ));
        }
        for name in &self.missing.0 {
            warnings.push(format!(
                "variable {name} is not set; an empty text stands for it"
            ));
        }
        warnings
    }

    /// Variables of `files`, or of `.env` in `directory`; what `known` has goes before them.
    fn variables(
        &mut self,
        directory: &Path,
        files: &[PathBuf],
        known: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Trouble> {
        let default = [directory.join(".env")];
        let (files, optional) = if files.is_empty() {
            (&default[..], true)
        } else {
            (files, false)
        };
        let mut found = BTreeMap::new();
        for file in files {
            let shown = file.to_string_lossy();
            let bytes = match (self.around.read)(file) {
                Ok(bytes) => bytes,
                Err(error) if optional && error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&Place::whole(&shown), &shown, &error)),
            };
            let text = utf8(&bytes, &shown)?;
            found.extend(variables::parse_variables(&shown, &text, known)?);
        }
        found.extend(known.clone());
        Ok(found)
    }

    /// Files merged one on top of the other, with what they include.
    fn files(
        &mut self,
        files: &[PathBuf],
        directory: &Path,
        names: &BTreeMap<String, String>,
    ) -> Result<Node, Trouble> {
        let mut whole: Option<Node> = None;
        for file in files {
            let path = self.around.directory.join(file);
            for document in self.documents(&path, file, directory, names)? {
                let document = extend::apply(self, document, &path, names)?;
                whole = Some(match whole {
                    None => document,
                    Some(before) => merge::merge(before, document),
                });
            }
        }
        let mut whole =
            whole.unwrap_or_else(|| Node::new(&Place::whole("nothing"), Value::Map(Map::new())));
        self.include(&mut whole, directory, names)?;
        Ok(whole)
    }

    /// The documents of one file in their long form.
    pub(super) fn documents(
        &mut self,
        path: &Path,
        shown: &Path,
        directory: &Path,
        names: &BTreeMap<String, String>,
    ) -> Result<Vec<Node>, Trouble> {
        let shown = shown.to_string_lossy();
        let bytes = (self.around.read)(path)
            .map_err(|error| unreadable(&Place::whole(&shown), &shown, &error))?;
        let mut documents = parse::parse(&shown, &utf8(&bytes, &shown)?)?;
        documents.retain(|document| !document.is_null());
        if documents.is_empty() {
            return Err(Trouble::new(
                &Place::whole(&shown),
                "the file is empty; it needs services",
            ));
        }
        let base = Base {
            directory: directory.to_path_buf(),
            home: names.get("HOME").cloned(),
        };
        for document in &mut documents {
            self.ignored.extend(keys::check(document)?);
            interpolate(document, names, &mut self.missing)?;
            canonical::file(document, &base)?;
        }
        Ok(documents)
    }

    /// Takes the files that `include` names; what they define may not be defined here too.
    fn include(
        &mut self,
        whole: &mut Node,
        directory: &Path,
        names: &BTreeMap<String, String>,
    ) -> Result<(), Trouble> {
        let Value::Map(map) = &mut whole.value else {
            return Ok(());
        };
        let Some(entry) = map.remove("include") else {
            return Ok(());
        };
        let items = match entry.node.value {
            Value::List(list) => list,
            Value::Null => Vec::new(),
            _ => return Err(entry.node.unlike("include", "a list of files")),
        };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Trouble::new(
                &entry.at,
                format!("include: files are nested more than {DEEPEST} deep; is there a cycle?"),
            ));
        }
        for item in items {
            let included = Included::read(&item, directory)?;
            let known = self.variables(&included.directory, &included.env_files, names)?;
            let node = self.files(&included.files, &included.directory, &known)?;
            take(map, node)?;
        }
        self.depth -= 1;
        Ok(())
    }
}

struct Included {
    files: Vec<PathBuf>,
    directory: PathBuf,
    env_files: Vec<PathBuf>,
}

impl Included {
    fn read(item: &Node, directory: &Path) -> Result<Self, Trouble> {
        let paths = |node: Option<&Node>| -> Result<Vec<PathBuf>, Trouble> {
            let Some(node) = node else {
                return Ok(Vec::new());
            };
            let one = std::slice::from_ref(node);
            let list = node.as_list().unwrap_or(one).iter();
            list.map(|node| match node.as_text() {
                Some(text) => Ok(directory.join(text)),
                None => Err(node.unlike("include", "a file")),
            })
            .collect()
        };
        let files = match &item.value {
            Value::Text { .. } => paths(Some(item))?,
            _ => paths(item.get("path"))?,
        };
        let Some(first) = files.first() else {
            return Err(item.unlike("include", "a file, or a map with path"));
        };
        let own = canonical::directory_of(first);
        let named = paths(item.get("project_directory"))?.into_iter().next();
        Ok(Self {
            directory: named.unwrap_or(own),
            env_files: paths(item.get("env_file"))?,
            files,
        })
    }
}

/// Adds what an included file defines.
fn take(map: &mut Map, included: Node) -> Result<(), Trouble> {
    let Value::Map(sections) = included.value else {
        return Ok(());
    };
    for (section, entry) in sections {
        let Value::Map(named) = entry.node.value.clone() else {
            map.entry(section).or_insert(entry);
            continue;
        };
        let here = map.entry(section.clone()).or_insert_with(|| {
            let empty = Node::new(&entry.node.at, Value::Map(Map::new()));
            super::tree::Entry::new(empty)
        });
        if here.node.is_null() {
            here.node.value = Value::Map(Map::new());
        }
        let Value::Map(here) = &mut here.node.value else {
            continue;
        };
        for (name, entry) in named {
            if let Some(before) = here.get(&name)
                && !same(&before.node, &entry.node)
            {
                return Err(Trouble::new(
                    &before.at,
                    format!(
                        "{section}.{name}: an included file defines it too, at {}; rename one",
                        entry.at
                    ),
                ));
            }
            here.insert(name, entry);
        }
    }
    Ok(())
}

/// Whether both say the same, wherever they stand.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Map(one), Value::Map(other)) => {
            let keys = one.keys().eq(other.keys());
            keys && one
                .values()
                .zip(other.values())
                .all(|(one, other)| same(&one.node, &other.node))
        }
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Text { text: one, .. }, Value::Text { text: other, .. }) => one == other,
        (one, other) => one == other,
    }
}

/// A file cannot be read.
pub(super) fn unreadable(at: &Place, file: &str, error: &io::Error) -> Trouble {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    Trouble::new(at, format!("file {file} {reason}"))
}

pub(super) fn utf8(bytes: &[u8], file: &str) -> Result<String, Trouble> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|_| Trouble::new(&Place::whole(file), "the file is not UTF-8"))
}
