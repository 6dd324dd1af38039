//! The daemon under a service manager: what systemd hears from the real binary.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any machine takes; a test that is right never waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that does not outlive its test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn heard(socket: &UnixDatagram) -> String {
    let mut message = [0; 200];
    let length = socket.recv(&mut message).unwrap();
    let text = String::from_utf8(message[..length].to_vec()).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn systemd_hears_of_the_daemon_from_its_start_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["daemon", "--config", "/dev/null", "--data-root"])
        .arg(directory.path().join("lasting"))
        .arg("--exec-root")
        .arg(directory.path().join("passing"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .env_remove("SKEP_HOST")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut daemon = Daemon(child);
    assert_eq!(heard(&socket), "READY=1");
    assert_eq!(heard(&socket), "WATCHDOG=1");
    assert_eq!(heard(&socket), "WATCHDOG=1");
    let pid = Pid::from_raw(i32::try_from(daemon.0.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let last = std::iter::repeat_with(|| heard(&socket)).find(|message| message != "WATCHDOG=1");
    assert_eq!(last.unwrap(), "STOPPING=1");
    assert!(daemon.0.wait().unwrap().success());
}
