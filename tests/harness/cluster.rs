//! A real cluster for tests: daemons in a lab, driven by the command line as a user would.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use skep_deploy::lab::{Lab, LabOptions};

use crate::ended;
pub use crate::ended::Ended;
use crate::turn::Turn;

/// Nothing in a test is waited for longer than this.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(50);

static LABS: AtomicU32 = AtomicU32::new(0);

/// A lab whose daemons form a cluster. It goes down with this value.
pub struct Cluster {
    /// The lab.
    pub lab: Lab,
    program: String,
    /// Goes after the lab, as the last field.
    _turn: Turn,
}

impl Cluster {
    /// Machines whose daemons run and are in no cluster yet.
    ///
    /// # Panics
    /// When the lab cannot be made.
    pub fn bare(program: &str, nodes: usize) -> Self {
        Self::bare_with(program, nodes, &[])
    }

    /// The same, with further arguments for each daemon; `{address}` is the node's.
    ///
    /// # Panics
    /// When the lab cannot be made.
    pub fn bare_with(program: &str, nodes: usize, args: &[&str]) -> Self {
        Self::in_turn(program, nodes, args, Turn::shared())
    }

    fn in_turn(program: &str, nodes: usize, args: &[&str], turn: Turn) -> Self {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", std::process::id());
        let mut options = LabOptions::new(&name, nodes, 0).expect("options of the lab");
        options.program = program.into();
        options.daemon.program = program.into();
        options
            .daemon
            .args
            .extend(args.iter().copied().map(String::from));
        let lab = Lab::up(&options).expect("the lab comes up");
        let cluster = Self {
            lab,
            program: program.into(),
            _turn: turn,
        };
        for number in 1..=nodes {
            cluster.until("the daemon listens", || cluster.listens(&node(number)));
        }
        cluster
    }

    /// A cluster of managers, then workers, all ready.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn up(program: &str, managers: usize, workers: usize) -> Self {
        Self::up_with(program, managers, workers, &[])
    }

    /// The same, with further arguments for each daemon; `{address}` is the node's.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn up_with(program: &str, managers: usize, workers: usize, args: &[&str]) -> Self {
        Self::bare_with(program, managers + workers, args).founded(managers, workers)
    }

    /// A cluster of managers that shares the machine with no other of its process: for what is done under load.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn alone(program: &str, managers: usize) -> Self {
        Self::in_turn(program, managers, &[], Turn::alone()).founded(managers, 0)
    }

    fn founded(self, managers: usize, workers: usize) -> Self {
        self.skep("node-1", &["swarm", "init"]);
        for number in 2..=managers + workers {
            let role = if number <= managers {
                "manager"
            } else {
                "worker"
            };
            self.join(&node(number), role);
        }
        self.until("all nodes are ready", || self.ready() == managers + workers);
        self
    }

    /// Lets a node join through node-1.
    ///
    /// # Panics
    /// When it is refused.
    pub fn join(&self, joining: &str, role: &str) {
        let token = self.skep("node-1", &["swarm", "join-token", "-q", role]);
        let manager = self.lab.address("node-1").expect("an address").to_string();
        self.skep(
            joining,
            &["swarm", "join", "--token", token.trim(), &manager],
        );
    }

    /// Brings back a node or its daemon after a kill, until the daemon listens.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&self, node: &str) {
        self.lab.start(node).expect("a node that is off");
        self.until("the daemon listens", || self.listens(node));
    }

    /// Whether the daemon of a node takes connections. The socket alone does not say it: a killed one leaves its own.
    pub fn listens(&self, node: &str) -> bool {
        let socket = self.lab.socket(node);
        socket.is_ok_and(|socket| UnixStream::connect(socket).is_ok())
    }

    /// How many nodes are ready, as node-1 sees it.
    pub fn ready(&self) -> usize {
        let nodes = self.try_list("node-1", &["node", "ls"]).unwrap_or_default();
        nodes.iter().filter(|node| node["state"] == "ready").count()
    }

    /// Runs `skep ARGS` in a node; it must succeed. Gives what it printed.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn skep(&self, on: &str, args: &[&str]) -> String {
        let ended = self.attempt(on, args);
        let said = || {
            format!(
                "skep {args:?} on {on}: {}{}\n{}",
                ended.out,
                ended.err,
                self.logs()
            )
        };
        assert_eq!(ended.code, 0, "{}", said());
        ended.out
    }

    /// Runs `skep ARGS` in a node.
    ///
    /// # Panics
    /// When the node is off.
    pub fn attempt(&self, on: &str, args: &[&str]) -> Ended {
        self.run(on, &[&[self.name()], args].concat())
    }

    /// Runs `skep ARGS` in a node, which may be off.
    ///
    /// # Panics
    /// When the command does not end.
    pub fn try_attempt(&self, on: &str, args: &[&str]) -> Option<Ended> {
        let argv = [&[self.name()], args].concat();
        let mut command = self.lab.command(on, &argv).ok()?;
        Some(self.end_of(&mut command, on, &argv))
    }

    fn name(&self) -> &str {
        let name = Path::new(&self.program).file_name();
        let name = name.and_then(|name| name.to_str());
        name.expect("a program's name")
    }

    /// Runs a command in a node or `outside`.
    ///
    /// # Panics
    /// When the node is off, or the command does not end; then with the log of every daemon.
    pub fn run(&self, on: &str, argv: &[&str]) -> Ended {
        let mut command = self.lab.command(on, argv).expect("a node that is on");
        self.end_of(&mut command, on, argv)
    }

    fn end_of(&self, command: &mut Command, on: &str, argv: &[&str]) -> Ended {
        ended::ended(command).unwrap_or_else(|given_up| {
            let Ended { out, err, .. } = given_up;
            panic!("{argv:?} on {on} does not end: {out}{err}\n{}", self.logs())
        })
    }

    /// What a list or inspection shows.
    ///
    /// # Panics
    /// When the command fails.
    pub fn list(&self, on: &str, args: &[&str]) -> Vec<Value> {
        let text = self.skep(on, &[args, &["--format", "json"]].concat());
        serde_json::from_str(&text).expect("an array of objects")
    }

    /// What a list shows, if the node is on and the command succeeds.
    pub fn try_list(&self, on: &str, args: &[&str]) -> Option<Vec<Value>> {
        let argv = [&[self.name()], args, &["--format", "json"]].concat();
        let mut command = self.lab.command(on, &argv).ok()?;
        let listed = ended::ended(&mut command).ok();
        let listed = listed.filter(|ended| ended.code == 0)?;
        serde_json::from_str(&listed.out).ok()
    }

    /// The name of the node that leads, as `on` sees it.
    pub fn leader(&self, on: &str) -> Option<String> {
        let nodes = self.try_list(on, &["node", "ls"])?;
        let leader = nodes.iter().find(|node| node["manager"] == "leader")?;
        leader["name"].as_str().map(str::to_owned)
    }

    /// Tasks of a service that run and are to run.
    pub fn running(&self, on: &str, service: &str) -> Vec<Value> {
        let tasks = self
            .try_list(on, &["service", "ps", service])
            .unwrap_or_default();
        let runs = |task: &Value| task["state"] == "running" && task["desired"] == "running";
        tasks.into_iter().filter(runs).collect()
    }

    /// Waits for a condition.
    ///
    /// # Panics
    /// When it does not hold within [`DEADLINE`], with the log of every daemon.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(
                begin.elapsed() < DEADLINE,
                "not in time: {what}\n{}",
                self.logs()
            );
            std::thread::park_timeout(LOOK);
        }
    }

    /// The end of every daemon's log.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for status in self.lab.nodes().unwrap_or_default() {
            let log = self.lab.logs(&status.name).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            text.push_str(&format!("== {} {:?}\n", status.name, status.daemon));
            for line in tail.iter().rev() {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.lab.clone().down() {
            eprintln!("the lab did not go down: {error}");
        }
    }
}

/// Name of the node of this number.
pub fn node(number: usize) -> String {
    format!("node-{number}")
}
