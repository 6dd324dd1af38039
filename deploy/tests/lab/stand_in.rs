//! A daemon of few talents: remembers each start in its data root, leaves an orphan behind, and tells
//! whoever connects to port 7000 what its hostname is.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use skep_deploy::lab::{DaemonOptions, Lab, LabOptions, NodeRole, Roots};

/// Labs of the tests lie in a directory of their own and take it along.
pub struct Scene {
    pub dir: tempfile::TempDir,
    pub options: LabOptions,
}

impl Scene {
    pub fn new(nodes: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let options = options(
            &format!("t{}-{number}", std::process::id()),
            nodes,
            dir.path().into(),
        );
        Self { dir, options }
    }

    pub fn up(&self) -> Lab {
        Lab::up(&self.options).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = Lab::down_in(&self.options.roots, &self.options.name);
    }
}

pub fn options(name: &str, nodes: usize, dir: PathBuf) -> LabOptions {
    let program = std::env::current_exe().unwrap();
    let args = ["daemon", "{data}", "{address}:7000"]
        .map(String::from)
        .to_vec();
    LabOptions {
        name: name.into(),
        nodes: vec![NodeRole::Manager; nodes],
        program: program.clone(),
        daemon: DaemonOptions { program, args },
        roots: Roots {
            run: dir.join("run"),
            store: dir.join("store"),
        },
    }
}

pub fn daemon(args: &[String]) -> ExitCode {
    let starts = format!("{}/starts", args[1]);
    let mut starts = File::options()
        .create(true)
        .append(true)
        .open(starts)
        .unwrap();
    writeln!(starts, "{}", std::process::id()).unwrap();
    Command::new("sh")
        .args(["-c", "sleep 1000 & :"])
        .status()
        .unwrap();
    let listener = TcpListener::bind(&args[2]).unwrap();
    println!("listening on {}", args[2]);
    for stream in listener.incoming() {
        let name = std::fs::read("/proc/sys/kernel/hostname").unwrap();
        let _ = stream.and_then(|mut s| s.write_all(&name));
    }
    ExitCode::SUCCESS
}

/// What `from` hears from the daemon of `to` in half a second: its hostname, or why not.
pub fn hears(lab: &Lab, from: &str, to: &str) -> String {
    let address = SocketAddr::from((lab.address(to).unwrap(), 7000));
    let limit = Duration::from_millis(500);
    let mut text = String::new();
    let connect = || TcpStream::connect_timeout(&address, limit);
    let asked = lab
        .in_network(from, connect)
        .unwrap()
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(limit))?;
            stream.read_to_string(&mut text)
        });
    asked.map_or_else(|e| format!("{:?}", e.kind()), |_| text.trim().to_string())
}

pub fn said(lab: &Lab, node: &str, argv: &[&str]) -> String {
    let output = lab.exec(node, argv).unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

pub fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !met() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::yield_now();
    }
}
