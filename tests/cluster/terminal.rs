//! Programs in tasks on a terminal of the user's, which is given back as it was.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::pty::{OpenptyResult, Winsize, openpty};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{tcgetwinsize, tcsetwinsize};
use skep_harness::cluster::Cluster;

use crate::SKEP;
use crate::exec::{boxes, tasks};

/// A terminal, and a shell on it that runs one `skep task exec -it`.
struct Terminal<'c> {
    cluster: &'c Cluster,
    on: &'static str,
    master: File,
    shell: Child,
    /// All that was shown.
    seen: Vec<u8>,
}

impl<'c> Terminal<'c> {
    /// On a terminal of 41 by 101, in a node; `command` finds `script` in `$SCRIPT`.
    fn open(
        cluster: &'c Cluster,
        on: &'static str,
        task: &str,
        (command, script): (&str, &str),
    ) -> Self {
        let size = Winsize {
            ws_row: 41,
            ws_col: 101,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        fcntl_setfl(&master, fcntl_getfl(&master).unwrap() | OFlags::NONBLOCK).unwrap();
        let side = || Stdio::from(slave.try_clone().unwrap());
        let skep = Path::new(SKEP).file_name().unwrap().to_str().unwrap();
        let exec = format!("EXEC=echo pid $$.; exec {skep} task exec -it {task} {command}");
        let shell = r#"before=$(stty -g); sh -c "$EXEC"; code=$?;
            [ "$(stty -g)" = "$before" ] && echo as before; echo code $code."#;
        let script = format!("SCRIPT={script}");
        let argv = [
            "env", &exec, &script, "setsid", "-c", "-w", "sh", "-c", shell,
        ];
        let mut inside = cluster.lab.command(on, &argv).unwrap();
        inside.stdin(side()).stdout(side()).stderr(side());
        Self {
            cluster,
            on,
            master: File::from(master),
            shell: inside.spawn().unwrap(),
            seen: Vec::new(),
        }
    }

    /// Waits until a text was shown; gives all that was.
    fn until(&mut self, text: &str) -> String {
        self.cluster.until(&format!("{text:?} is shown"), || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = self.master.read(&mut chunk) {
                self.seen.extend(&chunk[..count]);
            }
            let shown = String::from_utf8_lossy(&self.seen).contains(text);
            if !shown && self.shell.try_wait().unwrap().is_some() {
                panic!(
                    "{text:?} never came: {:?}",
                    String::from_utf8_lossy(&self.seen)
                );
            }
            shown
        });
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Sends a signal to `skep` itself.
    fn signal(&mut self, name: &str) {
        let seen = self.until("pid ");
        let pid = seen
            .split("pid ")
            .nth(1)
            .unwrap()
            .split('.')
            .next()
            .unwrap();
        let sent = self.cluster.run(self.on, &["kill", "-s", name, pid]);
        assert_eq!(sent.code, 0, "{}", sent.err);
    }

    /// Waits for the end, of which the terminal is as it was before.
    fn ends(mut self, code: i32) -> String {
        let seen = self.until("code ");
        assert!(
            seen.contains(&format!("as before\r\ncode {code}.")),
            "{seen}"
        );
        self.shell.wait().unwrap();
        seen
    }
}

const SH: &str = r#"sh -c "$SCRIPT""#;

#[test]
fn a_terminal_follows_the_users_size_and_is_given_back_on_every_way_out() {
    let cluster = boxes(1, 1);
    let all = tasks(&cluster);
    let (task, _) = all.iter().find(|(_, on)| on == "node-2").unwrap();
    let open = |command: (&str, &str)| Terminal::open(&cluster, "node-1", task, command);
    let waits = "while :; do sleep 0.05; done";

    let script = r#"stty size; trap "echo winched" WINCH; echo armed;
        until [ "$(stty size)" = "20 60" ]; do sleep 0.05; done;
        echo now; read word; echo got $word; exit 3"#;
    let mut one = open((SH, script));
    assert!(one.until("armed\r\n").contains("41 101\r\n"));
    let mut size = tcgetwinsize(&one.master).unwrap();
    (size.ws_row, size.ws_col) = (20, 60);
    tcsetwinsize(&one.master, size).unwrap();
    one.until("now\r\n");
    one.types("lines\n");
    let seen = one.ends(3);
    assert!(
        seen.contains("winched\r\n") && seen.contains("got lines\r\n"),
        "{seen}"
    );

    // Interrupts are typed, and meant for the program alone.
    let script = format!("trap 'echo stopped; exit 4' INT; echo armed; {waits}");
    let mut one = open((SH, &script));
    one.until("armed\r\n");
    one.types("\u{3}");
    one.ends(4);

    let script = format!("trap 'echo asked; exit 5' TERM; echo armed; {waits}");
    let mut one = open((SH, &script));
    one.until("armed\r\n");
    one.signal("TERM");
    one.ends(5);

    open(("no-such-program", "")).ends(127);

    let begun = || {
        let mut one = open(("sh", ""));
        one.types("echo al''one\n");
        one.until("alone\r\n");
        one
    };
    let mut one = begun();
    one.types("\u{10}\u{11}");
    assert!(one.ends(0).contains("goes on"));
    let mut one = begun();
    one.signal("HUP");
    one.ends(129);
    let one = begun();
    cluster.lab.kill("node-2").unwrap();
    assert!(one.ends(1).contains("connection"));
}

#[test]
fn a_service_may_have_a_terminal_of_its_own() {
    let cluster = boxes(1, 0);
    let script =
        "echo $TERM; ls -l /proc/self/fd/0; echo oops >&2; echo seen > /dev/console; read line";
    let create = ["service", "create", "-d", "--name", "shown", "-t"];
    let image = ["box:1", "sh", "-c", script];
    cluster.skep("node-1", &[&create[..], &image].concat());
    cluster.until("it waits for what nobody types", || {
        let logs = cluster.attempt("node-1", &["service", "logs", "--raw", "shown"]);
        let lines: Vec<&str> = logs.out.split("\r\n").collect();
        lines.len() == 5
            && lines[0] == "xterm"
            && lines[1].ends_with("/dev/pts/0")
            && lines[2] == "oops"
            && lines[3] == "seen"
    });
    assert_eq!(cluster.running("node-1", "shown").len(), 1);
}
