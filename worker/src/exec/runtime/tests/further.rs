//! Further programs in a container.

use super::super::*;
use super::rig::{Rig, SOON, until};
use crate::exec::bundle::User;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KEEP: usize = 64 << 10;

async fn sleeper(rig: &Rig, id: &str) -> Container {
    started(rig, &rig.plan(id, "trap 'exit 0' TERM; sleep 1000 & wait")).await
}

async fn started(rig: &Rig, plan: &crate::exec::bundle::ContainerPlan) -> Container {
    let container = rig.runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    container
}

fn script(text: &str) -> ExecPlan {
    ExecPlan {
        args: ["sh", "-c", text].map(str::to_owned).into(),
        env: Vec::new(),
        cwd: None,
        user: None,
        privileges: Privileges::Container,
        streams: Streams::Output,
    }
}

async fn run(container: &Container, plan: &ExecPlan) -> (i32, String) {
    let end = container.run(plan, SOON, KEEP).await.unwrap();
    let text = String::from_utf8(end.output).unwrap();
    (end.code.unwrap(), text)
}

async fn says(container: &Container, text: &str) -> String {
    run(container, &script(text)).await.1
}

async fn remove(rig: &Rig, container: &Container) {
    container.delete().await.unwrap();
    rig.assert_nothing_left(container.id());
}

/// The state letter of a process and whether it is there.
fn is_there(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_further_program_has_the_containers_namespaces_groups_and_rights() {
    let rig = Rig::new("further");
    let container = sleeper(&rig, "further").await;
    let kinds = "mnt uts ipc net pid cgroup";
    let look = |of: &str| format!("for k in {kinds}; do readlink /proc/{of}/ns/$k; done");
    let own = says(&container, &look("self")).await;
    assert_eq!(own, says(&container, &look("1")).await);
    for kind in kinds.split(' ') {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(!own.contains(ours.to_str().unwrap()), "{kind}: {own}");
    }
    let status =
        "while read -r k v; do case $k in Cap*|Seccomp:|NoNewPrivs:) echo $k $v;; esac; done";
    let of = |pid: &str| format!("{status} < /proc/{pid}/status");
    let first = says(&container, &of("1")).await;
    assert!(first.contains("CapEff: 00000000a80425fb"), "{first}");
    assert_eq!(says(&container, &of("self")).await, first);
    assert_eq!(
        says(&container, "cat /proc/self/cgroup").await,
        says(&container, "cat /proc/1/cgroup").await
    );
    let open = says(&container, "ls /proc/self/fd").await;
    assert_eq!(open, "0\n1\n2\n3\n", "nothing of the host is open");
    let score =
        std::fs::read_to_string(format!("/proc/{}/oom_score_adj", container.pid().unwrap()));
    assert_eq!(
        says(&container, "cat /proc/self/oom_score_adj").await,
        score.unwrap()
    );
    let mut all = script(&of("self"));
    all.privileges = Privileges::All;
    let (_, all) = run(&container, &all).await;
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = ours.lines().find_map(|line| line.strip_prefix("CapPrm:\t"));
    assert!(all.contains(&format!("CapEff: {}", most.unwrap())), "{all}");
    assert!(all.contains("Seccomp: 2"), "{all}");
    remove(&rig, &container).await;
}

#[tokio::test]
async fn user_environment_and_directory_are_as_asked() {
    let rig = Rig::new("further-env");
    let mut plan = rig.plan("env", "sleep 1000");
    plan.env.push("COLOUR=red".into());
    plan.env.push("SIZE=big".into());
    plan.cwd = "/srv".into();
    plan.user = User {
        uid: 7,
        gid: 8,
        groups: vec![9],
    };
    let container = started(&rig, &plan).await;
    let who = "while read -r k v; do case $k in Uid:|Gid:|Groups:) echo $k $v;; esac; done < /proc/self/status";
    assert_eq!(
        says(&container, who).await,
        "Uid: 7 7 7 7\nGid: 8 8 8 8\nGroups: 9\n"
    );
    assert_eq!(
        says(&container, "echo $PWD $COLOUR $SIZE").await,
        "/srv red big\n"
    );
    let mut asked = script(&format!("{who}; echo $PWD $COLOUR $SIZE $HOME $TERM"));
    asked.user = Some("web".into());
    asked.cwd = Some("/etc".into());
    asked.env = vec!["COLOUR=blue".into(), "SIZE".into()];
    assert_eq!(
        run(&container, &asked).await.1,
        "Uid: 33 33 33 33\nGid: 34 34 34 34\nGroups: 40\n/etc blue /srv\n"
    );
    asked.user = Some("nobody-here".into());
    let error = container.exec(&asked).await.unwrap_err();
    assert!(
        error.to_string().contains("no user \"nobody-here\""),
        "{error}"
    );
    remove(&rig, &container).await;
}

#[tokio::test]
async fn exit_codes_of_further_programs_are_exact() {
    let rig = Rig::new("further-codes");
    let container = sleeper(&rig, "codes").await;
    for (text, code) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)] {
        assert_eq!(run(&container, &script(text)).await.0, code, "{text}");
    }
    for (args, cwd, wanted, words) in [
        (["no-such-command", ""], None, 127, "not found"),
        (["/etc/passwd", ""], None, 126, "Permission denied"),
        (["sh", ""], Some("/no/such"), 126, "enter /no/such"),
    ] {
        let mut plan = script("");
        plan.args = args.map(str::to_owned).into();
        plan.cwd = cwd.map(Into::into);
        let error = container.exec(&plan).await.unwrap_err();
        let RuntimeError::Start {
            code, source, act, ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(*code, wanted);
        assert!(
            format!("{act}: {source}").contains(words),
            "{act}: {source}"
        );
    }
    assert_eq!(container.state().await.unwrap(), State::Running);
    remove(&rig, &container).await;
}

#[tokio::test]
async fn output_and_errors_are_apart_and_input_reaches_its_end() {
    let rig = Rig::new("further-streams");
    let container = sleeper(&rig, "streams").await;
    let mut plan = script("cat; echo done >&2; exit 4");
    plan.streams = Streams::All;
    let mut process = container.exec(&plan).await.unwrap();
    let mut input = process.input.take().unwrap();
    let sent: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
    let write = async {
        input.write_all(&sent).await.unwrap();
        drop(input);
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let (mut from, mut also) = (
        process.output.take().unwrap(),
        process.errors.take().unwrap(),
    );
    let read = async { tokio::join!(from.read_to_end(&mut out), also.read_to_end(&mut errors)) };
    let whole = async { tokio::join!(write, read) };
    let ((), (one, other)) = tokio::time::timeout(SOON, whole).await.unwrap();
    one.and(other).unwrap();
    assert_eq!(process.control.wait().await.code, 4);
    assert!(out == sent);
    assert_eq!(errors, b"done\n");
    remove(&rig, &container).await;
}

#[tokio::test]
async fn a_terminal_is_one_and_has_the_size_that_is_asked() {
    let rig = Rig::new("further-tty");
    let container = sleeper(&rig, "tty").await;
    let text = "readlink /proc/self/fd/0; : < /dev/tty && echo controls; echo $TERM; \
        trap 'echo resized; hit=1' WINCH; echo ready; while [ -z \"$hit\" ]; do sleep 0.05; done; \
        while read -r line; do echo \"got $line\"; done; exit 5";
    let mut plan = script(text);
    let size = |rows, columns| TerminalSize { rows, columns };
    plan.streams = Streams::Terminal(size(10, 20));
    let mut process = container.exec(&plan).await.unwrap();
    let (mut input, mut output) = (
        process.input.take().unwrap(),
        process.output.take().unwrap(),
    );
    let mut seen = String::new();
    let mut read_until = async |wanted: &str| {
        let mut chunk = [0; 1024];
        let reading = async {
            while !seen.contains(wanted) {
                let count = output.read(&mut chunk).await.unwrap();
                seen.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
            }
        };
        let in_time = tokio::time::timeout(SOON, reading).await.is_ok();
        assert!(in_time, "never came: {wanted}, but {seen:?}");
        seen.clone()
    };
    let seen = read_until("ready\r\n").await;
    assert!(
        seen.starts_with("/dev/pts/0\r\ncontrols\r\nxterm\r\n"),
        "{seen}"
    );
    let first = format!("/proc/{}/root/dev/pts/0", process.control.pid());
    let slave = std::fs::File::open(first).unwrap();
    let now = rustix::termios::tcgetwinsize(&slave).unwrap();
    assert_eq!((now.ws_row, now.ws_col), (10, 20));
    process.control.resize(size(50, 132)).unwrap();
    let now = rustix::termios::tcgetwinsize(&slave).unwrap();
    assert_eq!((now.ws_row, now.ws_col), (50, 132));
    read_until("resized").await;
    input.write_all(b"hello\n").await.unwrap();
    read_until("got hello").await;
    input.write_all(&[4]).await.unwrap();
    let end = tokio::time::timeout(SOON, process.control.wait())
        .await
        .unwrap();
    assert_eq!(end.code, 5);
    remove(&rig, &container).await;
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_all_that_it_began() {
    let rig = Rig::new("further-late");
    let container = sleeper(&rig, "late").await;
    let text = "echo begun; sleep 500 & sleep 500";
    let soon = Duration::from_millis(300);
    let end = container.run(&script(text), soon, KEEP).await.unwrap();
    assert_eq!((end.code, end.output), (None, b"begun\n".to_vec()));
    let sleeps = "for p in /proc/[0-9]*; do read -r c < $p/comm; echo $c; done";
    let left = async || says(&container, sleeps).await.matches("sleep").count();
    let gone = async {
        while left().await > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
    let flood = script("while :; do echo 0123456789; done");
    let end = container.run(&flood, soon, 100).await.unwrap();
    assert_eq!((end.code, end.output.len()), (None, 100));
    assert_eq!(container.state().await.unwrap(), State::Running);
    remove(&rig, &container).await;
}

#[tokio::test]
async fn a_program_ends_with_whoever_asked_for_it_unless_it_is_detached() {
    let rig = Rig::new("further-drop");
    let container = sleeper(&rig, "drop").await;
    let process = container.exec(&script("exec sleep 500")).await.unwrap();
    let pid = process.control.pid();
    assert!(is_there(pid));
    drop(process);
    until("it is killed", || !is_there(pid)).await;
    let mut plan = script("exec sleep 500");
    plan.streams = Streams::Detached;
    let detached = container.exec(&plan).await.unwrap();
    let pid = detached.control.pid();
    drop(detached);
    // The supervisor has seen the end of that connection once it answers on a later one.
    for _ in 0..3 {
        assert_eq!(says(&container, "echo again").await, "again\n");
    }
    assert!(is_there(pid));
    remove(&rig, &container).await;
    assert!(!is_there(pid));
}

#[tokio::test]
async fn signals_reach_the_program() {
    let rig = Rig::new("further-signal");
    let container = sleeper(&rig, "signal").await;
    let plan = script("trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done");
    let mut process = container.exec(&plan).await.unwrap();
    let mut ready = [0; 6];
    process
        .output
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .await
        .unwrap();
    process.control.signal(libc::SIGUSR1).await;
    let end = tokio::time::timeout(SOON, process.control.wait())
        .await
        .unwrap();
    assert_eq!((end.code, end.signal), (9, None));
    remove(&rig, &container).await;
}

#[tokio::test]
async fn a_container_that_ends_takes_its_further_programs_along() {
    let rig = Rig::new("further-ends");
    let container = sleeper(&rig, "ends").await;
    let process = container.exec(&script("exec sleep 500")).await.unwrap();
    container.kill(libc::SIGKILL).await.unwrap();
    let end = tokio::time::timeout(SOON, process.control.wait())
        .await
        .unwrap();
    assert_eq!((end.code, end.signal), (137, Some(9)));
    let ended = tokio::time::timeout(SOON, container.wait()).await.unwrap();
    assert_eq!(ended.code, 137);
    let error = container.exec(&script("exit 0")).await.unwrap_err();
    assert!(error.to_string().contains("it has ended"), "{error}");
    remove(&rig, &container).await;
}

#[tokio::test]
async fn no_program_runs_before_the_start_nor_in_a_paused_container() {
    let rig = Rig::new("further-not");
    let bundle = rig.plan("not", "sleep 1000").bundle();
    let container = rig.runtime.create(&bundle).await.unwrap();
    let error = container.exec(&script("exit 0")).await.unwrap_err();
    assert!(error.to_string().contains("does not run"), "{error}");
    container.start().await.unwrap();
    container.group().set_frozen(true).unwrap();
    let error = container.exec(&script("exit 0")).await.unwrap_err();
    assert!(error.to_string().contains("is paused"), "{error}");
    container.group().set_frozen(false).unwrap();
    assert_eq!(run(&container, &script("exit 2")).await.0, 2);
    remove(&rig, &container).await;
}

#[tokio::test]
async fn many_programs_run_at_once_and_one_too_many_is_refused() {
    let rig = Rig::new("further-many");
    let container = sleeper(&rig, "many").await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(container.exec(&script("exec sleep 500")).await.unwrap());
    }
    let error = container.exec(&script("exit 0")).await.unwrap_err();
    assert!(error.to_string().contains("64 programs"), "{error}");
    drop(held.pop());
    let room = async {
        while container.exec(&script("exit 0")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, room).await.unwrap();
    remove(&rig, &container).await;
}

#[tokio::test]
async fn a_later_daemon_runs_programs_in_what_it_finds() {
    let rig = Rig::new("further-later");
    let container = sleeper(&rig, "later").await;
    let later = Runtime::open(rig.paths.clone()).unwrap();
    let found = later.recover().await.unwrap();
    assert_eq!(
        run(&found[0], &script("echo $0; exit 6")).await,
        (6, "sh\n".into())
    );
    remove(&rig, &container).await;
}

#[tokio::test]
async fn the_file_that_runs_until_exec_cannot_be_written_from_inside() {
    let rig = Rig::new("further-sealed");
    let container = sleeper(&rig, "sealed").await;
    // A script whose interpreter is whatever runs it: as the first step of CVE-2019-5736.
    let root = format!("/proc/{}/root", container.pid().unwrap());
    std::fs::write(format!("{root}/trap"), "#!/proc/self/exe\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(format!("{root}/trap"), mode).unwrap();
    let mut plan = script("");
    plan.args = vec!["/trap".into()];
    plan.streams = Streams::All;
    // It becomes the supervisor's own program, which finds no connection and goes.
    let process = container.exec(&plan).await.unwrap();
    let pid = process.control.pid();
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/exe"));
    if let Ok(mut file) = opened {
        let error = std::io::Write::write(&mut file, b"hostile").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
    assert_ne!(process.control.wait().await.code, 0);
    assert_eq!(run(&container, &script("exit 0")).await.0, 0);
    remove(&rig, &container).await;
}
