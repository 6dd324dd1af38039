//! The jobs in deploy/ci, run in a shell where `skep` writes down how it was called: every command line is one that
//! skep understands, and a job ends as skep did.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Parser;
use granit_parser::{Event, Parser as Yaml};
use skep_cli::args::Cli;
use skep_cli::args::Command as Typed;
use skep_cli::args::service::ServiceCommand;
use skep_cli::commands::verdict::End;

/// What a value of a YAML file is.
#[derive(Debug, Clone)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    fn at(&self, key: &str) -> &Self {
        match self {
            Self::Map(map) => map
                .get(key)
                .unwrap_or_else(|| panic!("no {key} in {map:?}")),
            Self::List(list) => &list[key.parse::<usize>().unwrap()],
            Self::Text(text) => panic!("no {key} in {text}"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }

    /// The variables of a map of texts.
    fn variables(&self) -> Vec<(String, String)> {
        let Self::Map(map) = self else {
            panic!("{self:?} has no variables")
        };
        let pairs = map
            .iter()
            .map(|(name, value)| (name.clone(), value.text().to_owned()));
        pairs.collect()
    }
}

fn job(name: &str) -> (PathBuf, Node) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/ci")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    let events = Yaml::new_from_str(&text).map(|event| event.unwrap().0);
    let mut events = events.filter(|event| {
        !matches!(
            event,
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd
        )
    });
    let first = events.next().unwrap();
    let root = node(first, &mut events);
    assert!(events.next().is_none(), "{name} has one document");
    (path, root)
}

fn node<'a>(event: Event<'a>, rest: &mut impl Iterator<Item = Event<'a>>) -> Node {
    match event {
        Event::Scalar(text, ..) => Node::Text(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match rest.next().unwrap() {
                    Event::SequenceEnd => return Node::List(list),
                    event => list.push(node(event, rest)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = BTreeMap::new();
            loop {
                match rest.next().unwrap() {
                    Event::MappingEnd => return Node::Map(map),
                    event => {
                        let key = node(event, rest).text().to_owned();
                        let value = rest.next().unwrap();
                        assert!(
                            map.insert(key.clone(), node(value, rest)).is_none(),
                            "{key} twice"
                        );
                    }
                }
            }
        }
        other => panic!("{other:?} in a job"),
    }
}

/// A machine without a cluster: programs that only write down how they were called.
struct Runner {
    directory: tempfile::TempDir,
}

impl Runner {
    fn new() -> Self {
        let runner = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        runner.program("skep", "for word; do printf '%s\\n' \"$word\"; done >>\"$CALLS\"; echo -- >>\"$CALLS\"\ncase \" $* \" in *' --plan '*) exit 2 ;; esac\nexit \"$CODE\"");
        for program in ["curl", "dpkg-deb", "apt-get"] {
            runner.program(program, "exit 0");
        }
        runner
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a shell with words, where skep ends with `code`.
    fn run(&self, shell: &[&str], variables: &[(String, String)], code: u8) -> Output {
        let path = format!(
            "{}:{}",
            self.directory.path().display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("HOME", self.directory.path())
            .env("CALLS", self.path("calls"))
            .env("CODE", code.to_string())
            .envs(variables.iter().cloned());
        command.output().unwrap()
    }

    /// How skep was called, a list of words each time.
    fn calls(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        fs::write(self.path("calls"), "").unwrap();
        let calls = text.split_terminator("--\n");
        calls
            .map(|call| call.lines().map(str::to_owned).collect())
            .collect()
    }
}

/// Whether skep takes these words, and whether they ask for the update that a job is there for.
fn check(words: &[String]) -> bool {
    let parsed =
        Cli::try_parse_from(std::iter::once("skep".to_owned()).chain(words.iter().cloned()));
    let cli = parsed.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let Typed::Service(ServiceCommand::Update(update)) = cli.command else {
        panic!("{words:?} updates nothing");
    };
    assert_eq!(update.service, "web");
    assert!(
        update
            .image
            .is_some_and(|image| image.contains("/web:") && !image.contains('$'))
    );
    assert!(
        update.plan || update.wait.timeout.is_some(),
        "{words:?} waits for ever"
    );
    !update.plan
}

/// Each end that a rollout can have, and a word that a job must say of it.
fn ends() -> Vec<(u8, &'static str)> {
    let why = String::new;
    let ends = [
        (End::Converged, "web runs registry.example.com/web:1.2"),
        (End::RolledBack(why()), "rolled back"),
        (End::Paused(why()), "paused"),
        (End::TimedOut(why()), "not in time"),
        (End::Unschedulable(why()), "no node"),
        (End::Superseded(why()), "superseded"),
        (End::Refused(why()), "refused"),
        (End::NoAnswer(why()), "does not answer"),
    ];
    let mut ends: Vec<_> = ends
        .into_iter()
        .map(|(end, word)| (end.code(), word))
        .collect();
    ends.push((101, "ended with 101"));
    ends
}

/// Runs the last of `scripts` once for each end, those before it once.
fn ends_as_skep_does(shell: &[&str], scripts: &[String], variables: &[(String, String)]) {
    let runner = Runner::new();
    let run = |script: &str, code| {
        let words: Vec<&str> = shell.iter().copied().chain([script]).collect();
        runner.run(&words, variables, code)
    };
    let (last, before) = scripts.split_last().unwrap();
    for script in before {
        let out = run(script, 0);
        assert!(out.status.success(), "{script}\n{out:?}");
    }
    for call in runner.calls() {
        assert!(!check(&call), "{call:?} changes something too early");
    }
    for (code, word) in ends() {
        let out = run(last, code);
        assert_eq!(out.status.code(), Some(code.into()), "{out:?}");
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(said.contains(word), "{code}: {said}");
        let calls = runner.calls();
        assert_eq!(calls.len(), 1);
        assert!(check(&calls[0]));
    }
}

#[test]
fn the_github_job_ends_as_skep_does() {
    let (_, job) = job("github-actions.yml");
    let temp = tempfile::tempdir().unwrap();
    let given = |name: &str| {
        (
            name.to_owned(),
            temp.path().join(name).display().to_string(),
        )
    };
    let mut variables = job.at("env").variables();
    variables.extend(["GITHUB_PATH", "GITHUB_ENV"].map(given));
    variables.push(("RUNNER_TEMP".into(), temp.path().display().to_string()));
    variables.push(("GITHUB_WORKFLOW".into(), "rollout".into()));
    variables.push(("GITHUB_RUN_ID".into(), "7".into()));
    let steps = job.at("jobs").at("rollout").at("steps").list();
    for (_, value) in &mut variables {
        *value = value.replace("${{ inputs.tag }}", "1.2");
    }
    let scripts: Vec<String> = steps
        .iter()
        .map(|step| step.at("run").text().to_owned())
        .collect();
    ends_as_skep_does(
        &["bash", "-e", "-o", "pipefail", "-c"],
        &scripts,
        &variables,
    );
}

#[test]
fn the_gitlab_job_ends_as_skep_does() {
    let (_, file) = job("gitlab-ci.yml");
    let job = file.at("rollout");
    let mut variables = job.at("variables").variables();
    for (_, value) in &mut variables {
        *value = value.replace(
            "$CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA",
            "registry.example.com/web:1.2",
        );
    }
    variables.push(("CI_JOB_ID".into(), "7".into()));
    let lines = [job.at("before_script").list(), job.at("script").list()].concat();
    let scripts: Vec<String> = lines.iter().map(|line| line.text().to_owned()).collect();
    ends_as_skep_does(&["sh", "-e", "-c"], &scripts, &variables);
}

#[test]
fn the_script_ends_as_skep_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/ci/rollout.sh");
    let script = path.to_str().unwrap();
    let runner = Runner::new();
    for (code, word) in ends() {
        let out = runner.run(
            &["sh", script, "web", "registry.example.com/web:1.2"],
            &[],
            code,
        );
        assert_eq!(out.status.code(), Some(code.into()), "{out:?}");
        assert!(
            String::from_utf8_lossy(&out.stdout).contains(word),
            "{out:?}"
        );
        let calls = runner.calls();
        assert_eq!(calls.len(), 1);
        assert!(check(&calls[0]));
    }
    let out = runner.run(&["sh", script, "web"], &[], 0);
    assert_eq!(out.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&out.stderr).contains("usage:"));
    assert_eq!(runner.calls().len(), 0);
}
