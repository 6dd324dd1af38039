//! A machine that has nothing but a token.

use std::path::Path;
use std::process::{Child, Stdio};

use skep_harness::cluster::{Cluster, Ended, node};

use crate::SKEP;

/// Somebody on the machine `outside`, with a token in the environment and no files of its own.
pub struct Outsider<'a> {
    pub cluster: &'a Cluster,
    pub host: String,
    pub token: String,
    /// Its home directory.
    pub home: tempfile::TempDir,
}

impl<'a> Outsider<'a> {
    /// With a token that is made so; all of `managers` are known, in this order.
    pub fn new(cluster: &'a Cluster, managers: &[usize], made: &[&str]) -> Self {
        let token = cluster.skep("node-1", &[&["token", "create"], made].concat());
        let token = token.trim().to_owned();
        Self::with(cluster, managers, token)
    }

    pub fn with(cluster: &'a Cluster, managers: &[usize], token: String) -> Self {
        let address = |number: &usize| cluster.lab.address(&node(*number)).unwrap().to_string();
        let addresses: Vec<String> = managers.iter().map(address).collect();
        Self {
            cluster,
            host: format!("tcp://{}", addresses.join(",")),
            token,
            // What is in /tmp there is its own.
            home: tempfile::tempdir_in("/var/tmp").unwrap(),
        }
    }

    /// Runs a command, its words set apart by blanks, with host and token in the environment.
    pub fn skep(&self, line: &str) -> Ended {
        let (host, token) = (
            format!("SKEP_HOST={}", self.host),
            format!("SKEP_TOKEN={}", self.token),
        );
        self.run(&[&host, &token], line)
    }

    pub fn run(&self, environment: &[&str], line: &str) -> Ended {
        let argv = self.words(environment, line);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        self.cluster.run("outside", &argv)
    }

    /// Begins a command that goes on; what it prints goes to this file.
    pub fn follow(&self, line: &str, to: &Path) -> Child {
        let (host, token) = (
            format!("SKEP_HOST={}", self.host),
            format!("SKEP_TOKEN={}", self.token),
        );
        let argv = self.words(&[&host, &token], line);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut command = self.cluster.lab.command("outside", &argv).unwrap();
        let file = std::fs::File::create(to).unwrap();
        command.stdout(file).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn words(&self, environment: &[&str], line: &str) -> Vec<String> {
        let home = format!("HOME={}", self.home.path().display());
        let name = Path::new(SKEP).file_name().unwrap().to_str().unwrap();
        let env = ["env", "-u", "SKEP_HOST", "-u", "XDG_CONFIG_HOME", &home];
        let before = env.into_iter().chain(environment.iter().copied());
        let argv = before.chain([name]).chain(line.split(' '));
        argv.map(str::to_owned).collect()
    }

    /// The command must end with this code and say this on the standard error output.
    pub fn ends(&self, line: &str, code: i32, says: &str) {
        let ended = self.skep(line);
        assert_eq!(ended.code, code, "{line}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains(says), "{line}: {}", ended.err);
    }
}
