//! How containers begin and end.

use super::super::*;
use super::rig::{Rig, SOON, output, until};
use crate::exec::bundle::{Attachment, Bind, LogBounds};

#[tokio::test]
async fn exit_codes_are_exact() {
    let rig = Rig::new("codes");
    let check = async |id: &str, script: &str, code: i32, signal: Option<i32>| {
        let (ended, _) = rig.script(id, script).await;
        assert_eq!(
            (ended.code, ended.signal, ended.out_of_memory),
            (code, signal, false),
            "{id}"
        );
        assert_eq!(ended.reason.is_none(), code == 0, "{id}");
    };
    check("zero", "exit 0", 0, None).await;
    check("three", "exit 3", 3, None).await;
    check("most", "exit 255", 255, None).await;
    let container = rig
        .runtime
        .create(&rig.plan("nine", "sleep 100").bundle())
        .await
        .unwrap();
    container.start().await.unwrap();
    container.kill(9).await.unwrap();
    let ended = tokio::time::timeout(SOON, container.wait()).await.unwrap();
    assert_eq!((ended.code, ended.signal), (137, Some(9)));
    assert_eq!(ended.reason.as_deref(), Some("killed by signal 9"));
    container.delete().await.unwrap();
    rig.assert_nothing_left("nine");
}

#[tokio::test]
async fn programs_that_cannot_run_have_dockers_codes() {
    let rig = Rig::new("norun");
    let check = async |command: &str, expected: i32, words: &str| {
        let mut plan = rig.plan("norun", "");
        plan.args = vec![command.to_owned()];
        let container = rig.runtime.create(&plan.bundle()).await.unwrap();
        let error = container.start().await.unwrap_err();
        let RuntimeError::Start { code, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*code, expected, "{command}");
        let ended = tokio::time::timeout(SOON, container.wait()).await.unwrap();
        assert_eq!(ended.code, expected, "{command}");
        let reason = ended.reason.unwrap();
        assert!(
            reason.contains(words) && reason.contains(command),
            "{reason}"
        );
        container.delete().await.unwrap();
        rig.assert_nothing_left("norun");
    };
    check("no-such-command", 127, "not found").await;
    check("/no/such/file", 127, "not found").await;
    check("/etc/passwd", 126, "Permission denied").await;
    check("/etc", 126, "Permission denied").await;
}

#[tokio::test]
async fn both_streams_are_kept_whole() {
    let rig = Rig::new("streams");
    let script = "n=0; while [ $n -lt 3000 ]; do echo line $n; n=$((n+1)); done; \
        echo to stderr >&2; printf 'no newline'";
    let (ended, output) = rig.script("streams", script).await;
    assert_eq!(ended.code, 0);
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 3001);
    assert_eq!(lines[2999..], ["line 2999", "no newline"]);
    assert_eq!(output.stderr, "to stderr\n");
}

#[tokio::test]
async fn a_terminal_of_its_own_controls_the_program_and_is_kept_in_the_log() {
    let rig = Rig::new("tty");
    let mut plan = rig.plan(
        "tty",
        "readlink /proc/self/fd/0; test -t 1 && test -t 2 && : < /dev/tty && echo controls; echo to stderr >&2; \
        n=0; while [ $n -lt 3000 ]; do echo line $n; n=$((n+1)); done; exit 3",
    );
    plan.tty = true;
    plan.user.uid = 1234;
    let container = rig.runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    let ended = tokio::time::timeout(SOON, container.wait()).await.unwrap();
    assert_eq!(ended.code, 3);
    let kept = output(&container);
    let lines: Vec<_> = kept.stdout.split("\r\n").collect();
    assert_eq!(
        lines[..4],
        ["/dev/pts/0", "controls", "to stderr", "line 0"]
    );
    assert_eq!((lines.len(), lines[3002]), (3004, "line 2999"));
    assert_eq!(kept.stderr, "");
    container.delete().await.unwrap();

    // Nobody types, and that is no end of the input.
    let mut plan = rig.plan("waits", "echo ready; read line; echo never");
    plan.tty = true;
    let container = rig.runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    until("it waits", || output(&container).stdout == "ready\r\n").await;
    assert!(container.ended().is_none());
    container.kill(9).await.unwrap();
    container.wait().await;
    container.delete().await.unwrap();
    rig.assert_nothing_left("waits");
}

#[tokio::test]
async fn a_log_is_bounded() {
    let rig = Rig::new("bounded");
    let mut plan = rig.plan(
        "bounded",
        "n=0; while [ $n -lt 4000 ]; do echo line $n; n=$((n+1)); done",
    );
    plan.log = Some(LogBounds {
        max_bytes: 40_000,
        max_files: 2,
    });
    let container = rig.runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    container.wait().await;
    let path = container.log_path();
    assert!(path.with_extension("1").exists() && !path.with_extension("2").exists());
    assert!(output(&container).stdout.ends_with("line 3999\n"));
    container.delete().await.unwrap();
}

#[tokio::test]
async fn the_stop_signal_is_honoured_and_then_not_waited_for() {
    let rig = Rig::new("stop");
    let polite = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let mut plan = rig.plan("polite", polite);
    plan.stop_signal = libc::SIGUSR1;
    let deaf = rig.plan(
        "deaf",
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    let cases = [
        (plan, SOON, (5, None)),
        (deaf, Duration::from_millis(100), (137, Some(9))),
    ];
    for (plan, grace, expected) in cases {
        let container = rig.runtime.create(&plan.bundle()).await.unwrap();
        container.start().await.unwrap();
        until("it is ready", || output(&container).stdout == "ready\n").await;
        assert_eq!(container.state().await.unwrap(), State::Running);
        let ended = container.stop(grace).await.unwrap();
        assert_eq!((ended.code, ended.signal), expected, "{}", plan.id);
        assert_eq!(container.state().await.unwrap(), State::Ended(ended));
        container.delete().await.unwrap();
        rig.assert_nothing_left(&plan.id);
    }
}

#[tokio::test]
async fn nothing_runs_before_the_start() {
    let rig = Rig::new("created");
    let container = rig
        .runtime
        .create(&rig.plan("created", "echo ran").bundle())
        .await
        .unwrap();
    assert_eq!(container.state().await.unwrap(), State::Created);
    assert!(container.network_namespace().unwrap().exists());
    assert_eq!(output(&container).stdout, "");
    let again = rig
        .runtime
        .create(&rig.plan("created", "").bundle())
        .await
        .unwrap_err();
    assert!(matches!(again, RuntimeError::Exists(_)), "{again}");
    container.delete().await.unwrap();
    rig.assert_nothing_left("created");
}

#[tokio::test]
async fn what_cannot_be_made_says_why_and_leaves_nothing() {
    let rig = Rig::new("broken");
    let mut plan = rig.plan("broken", "true");
    // A directory cannot be bound over a file.
    plan.mounts = vec![Attachment::Bind(Bind::new(rig.path(), "/etc/passwd"))];
    let error = rig.runtime.create(&plan.bundle()).await.unwrap_err();
    let RuntimeError::Start { act, code: 125, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(act.contains("to /etc/passwd: attach the mount"), "{act}");
    rig.assert_nothing_left("broken");
    for id in ["", "../up", "_ours", "a/b"] {
        let mut plan = rig.plan("broken", "true");
        plan.id = id.to_owned();
        let error = rig.runtime.create(&plan.bundle()).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Id(_)), "{error}");
    }
}

#[tokio::test]
async fn a_network_namespace_can_be_joined() {
    let rig = Rig::new("join");
    let first = rig
        .runtime
        .create(&rig.plan("first", "true").bundle())
        .await
        .unwrap();
    let path = first.network_namespace().unwrap();
    let inside = std::fs::read_link(&path).unwrap();
    let mut plan = rig.plan("second", "readlink /proc/self/ns/net");
    plan.network = crate::exec::bundle::Network::Join(path);
    let (_, output) = rig.run(&plan).await;
    assert_eq!(output.stdout.trim(), inside.to_str().unwrap());
    first.delete().await.unwrap();
}

#[tokio::test]
async fn many_containers_live_side_by_side() {
    let rig = Rig::new("many");
    let ids: Vec<_> = (0..20).map(|number| format!("many-{number}")).collect();
    let runs = ids.iter().map(|id| rig.script(id, "echo $0; exit 4"));
    for (ended, output) in futures_util::future::join_all(runs).await {
        assert_eq!((ended.code, output.stdout.as_str()), (4, "sh\n"));
    }
}
