use std::sync::Arc;
use std::time::Duration;

use skep_proto::assignment::{AssignedAttachment, AssignedFile, AssignedTask};
use skep_proto::file::{FileId, FileKind};
use skep_proto::ids::{NetworkId, ServiceId, TaskId};
use skep_proto::spec::{ContainerSpec, TaskSpec};
use skep_proto::task::{Slot, TaskState};
use skep_proto::time::WallTime;

use crate::health::{Health, Known, Outcome};

use super::{Action, Cause, Checked, Ending, Lacking, Local, Moment, Stage, signals, step};

fn task(desired: TaskState, drained: bool) -> AssignedTask {
    AssignedTask {
        auth: None,
        files: Vec::new(),
        id: TaskId::new(1),
        service: ServiceId::new(1),
        service_name: "web".into(),
        slot: Slot::Replica(1),
        spec: Arc::new(TaskSpec::new(ContainerSpec {
            stop_signal: Some(3),
            ..ContainerSpec::new("skep/hello:latest")
        })),
        desired,
        attachments: Vec::new(),
        drained,
    }
}

fn attachment() -> AssignedAttachment {
    AssignedAttachment {
        network: NetworkId::new(1),
        address: "10.0.0.2".parse().unwrap(),
        subnet: "10.0.0.0/24".parse().unwrap(),
        aliases: Vec::new(),
        ingress: false,
    }
}

fn local(stage: Stage) -> Local {
    Local {
        stage,
        since: WallTime::from_unix_millis(7),
        health: Checked::Never,
        ..Local::default()
    }
}

fn ended(cause: Cause) -> Stage {
    Stage::Ended(Ending {
        cause,
        error: String::new(),
    })
}

fn check(task: &AssignedTask, local: &Local, action: Action, state: TaskState) {
    let step = step(Some(task), local, Moment(Duration::from_secs(100)));
    let status = step.status.map(|status| status.state);
    assert_eq!((step.action, status), (action, Some(state)), "{local:?}");
}

#[test]
fn a_task_climbs_one_rung_at_a_time_and_no_further_than_desired() {
    let run = task(TaskState::Running, false);
    check(
        &run,
        &local(Stage::Absent),
        Action::FetchImage,
        TaskState::Preparing,
    );
    check(
        &run,
        &local(Stage::Fetched),
        Action::Attach,
        TaskState::Preparing,
    );
    check(
        &run,
        &local(Stage::Attached),
        Action::Create,
        TaskState::Preparing,
    );
    check(
        &run,
        &local(Stage::Created),
        Action::Start,
        TaskState::Starting,
    );
    check(
        &run,
        &local(Stage::Running { pid: 5 }),
        Action::Rest,
        TaskState::Running,
    );
    let ready = task(TaskState::Ready, false);
    check(
        &ready,
        &local(Stage::Created),
        Action::Rest,
        TaskState::Ready,
    );
}

#[test]
fn a_task_on_a_network_accepts_who_is_connected_before_it_is_stopped() {
    let mut drained = task(TaskState::Shutdown, true);
    drained.attachments.push(attachment());
    let mut running = local(Stage::Running { pid: 5 });
    check(&drained, &running, Action::Settle, TaskState::Running);
    running.settled = true;
    let signal = Action::SignalStop(Some(3));
    check(&drained, &running, signal, TaskState::Running);
    // One that is not well accepts nobody, and what was begun goes on.
    running.settled = false;
    running.unwell = Some("it is not well".into());
    check(&drained, &running, signal, TaskState::Running);
    running.unwell = None;
    running.stopped = Some(Moment(Duration::from_secs(90)));
    check(&drained, &running, Action::Kill, TaskState::Running);
}

#[test]
fn a_task_is_stopped_only_when_drained_then_killed_after_its_grace() {
    let mut running = local(Stage::Running { pid: 5 });
    check(
        &task(TaskState::Shutdown, false),
        &running,
        Action::Rest,
        TaskState::Running,
    );
    let drained = task(TaskState::Shutdown, true);
    check(
        &drained,
        &running,
        Action::SignalStop(Some(3)),
        TaskState::Running,
    );
    running.stopped = Some(Moment(Duration::from_secs(95)));
    let end = Moment(Duration::from_secs(105));
    check(&drained, &running, Action::Wait(end), TaskState::Running);
    running.stopped = Some(Moment(Duration::from_secs(90)));
    check(&drained, &running, Action::Kill, TaskState::Running);
    running.killed = true;
    check(&drained, &running, Action::Rest, TaskState::Running);
    running.stage = ended(Cause::Exited(137));
    check(&drained, &running, Action::Rest, TaskState::Shutdown);
    check(
        &task(TaskState::Remove, true),
        &running,
        Action::Remove,
        TaskState::Shutdown,
    );
}

#[test]
fn how_a_task_ended_is_told_apart() {
    let run = task(TaskState::Running, false);
    for (cause, state) in [
        (Cause::Exited(0), TaskState::Complete),
        (Cause::Exited(3), TaskState::Failed),
        (Cause::CouldNotBegin, TaskState::Rejected),
        (Cause::Lost, TaskState::Failed),
    ] {
        check(&run, &local(ended(cause)), Action::Rest, state);
    }
    let later = task(TaskState::Shutdown, true);
    let rejected = local(ended(Cause::CouldNotBegin));
    check(&later, &rejected, Action::Rest, TaskState::Rejected);
}

#[test]
fn a_task_that_never_began_is_cancelled() {
    let stop = task(TaskState::Shutdown, false);
    check(
        &stop,
        &local(Stage::Absent),
        Action::Cancel,
        TaskState::Accepted,
    );
    check(
        &stop,
        &local(Stage::Created),
        Action::Cancel,
        TaskState::Ready,
    );
    check(
        &stop,
        &local(ended(Cause::Cancelled)),
        Action::Rest,
        TaskState::Shutdown,
    );
}

#[test]
fn what_nobody_asks_for_is_ended_removed_and_forgotten() {
    let now = Moment::default();
    for (stage, action) in [
        (Stage::Running { pid: 5 }, Action::Kill),
        (ended(Cause::Exited(0)), Action::Remove),
        (Stage::Created, Action::Remove),
        (Stage::Absent, Action::Forget),
    ] {
        assert_eq!(step(None, &local(stage), now).action, action);
    }
}

#[test]
fn a_status_stays_equal_while_nothing_changes() {
    let (run, here) = (task(TaskState::Running, false), local(Stage::Created));
    let later = step(Some(&run), &here, Moment(Duration::from_secs(5)));
    assert_eq!(step(Some(&run), &here, Moment::default()), later);
}

#[test]
fn an_image_that_is_lacking_is_waited_for_and_the_reason_is_told() {
    let now = Moment(Duration::from_secs(100));
    let run = task(TaskState::Running, false);
    let reason = "it is held only by node-3, which is down";
    let mut waiting = local(Stage::Absent);
    waiting.lacking = Lacking::again(None, reason.to_owned(), now);
    let wait = step(Some(&run), &waiting, now);
    assert!(matches!(wait.action, Action::Wait(until) if until > now));
    let status = wait.status.unwrap();
    assert_eq!(status.state, TaskState::Preparing);
    assert_eq!(status.message, reason);
    let later = now.after(Duration::from_secs(1));
    assert_eq!(step(Some(&run), &waiting, later).action, Action::FetchImage);
    let stop = task(TaskState::Shutdown, false);
    check(&stop, &waiting, Action::Cancel, TaskState::Accepted);
}

#[test]
fn waiting_for_an_image_slows_down_and_ends() {
    let mut now = Moment(Duration::from_secs(100));
    let mut lacking = None;
    let mut attempts = 0;
    while let Some(next) = Lacking::again(lacking.as_ref(), String::new(), now) {
        let pause = next.again.0.saturating_sub(now.0);
        assert!(pause >= Duration::from_millis(500) && pause <= Duration::from_secs(5));
        (now, lacking) = (next.again, Some(next));
        attempts += 1;
    }
    assert!((100..200).contains(&attempts), "{attempts}");
}

fn tested(health: Health) -> Local {
    Local {
        health: Checked::By(health),
        ..local(Stage::Running { pid: 9 })
    }
}

fn check_every(seconds: u64) -> crate::health::Check {
    crate::health::Check {
        command: vec!["/check".into()],
        interval: Duration::from_secs(seconds),
        timeout: Duration::from_secs(1),
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: Duration::from_secs(1),
    }
}

#[test]
fn a_task_with_a_check_is_starting_until_its_first_success() {
    let run = task(TaskState::Running, false);
    let unknown = Local {
        health: Checked::default(),
        ..local(Stage::Running { pid: 9 })
    };
    check(&run, &unknown, Action::LearnCheck, TaskState::Starting);
    let (then, now) = (
        Moment(Duration::from_secs(95)),
        Moment(Duration::from_secs(100)),
    );
    let mut health = Health::begin(check_every(10), then, Known::Nothing);
    let due = Moment(Duration::from_secs(105));
    check(
        &run,
        &tested(health.clone()),
        Action::Wait(due),
        TaskState::Starting,
    );
    let late = Health::begin(check_every(5), then, Known::Nothing);
    check(&run, &tested(late), Action::Test, TaskState::Starting);
    health.record(Outcome::Well, now);
    let next = Moment(Duration::from_secs(110));
    check(
        &run,
        &tested(health),
        Action::Wait(next),
        TaskState::Running,
    );
}

#[test]
fn what_is_not_well_is_stopped_and_has_failed_whatever_its_code() {
    let run = task(TaskState::Running, false);
    let now = Moment(Duration::from_secs(100));
    let mut health = Health::begin(check_every(10), now, Known::Well);
    let unwell = health.record(Outcome::Failed("no".into()), now);
    let mut sick = Local {
        unwell,
        ..tested(health)
    };
    check(&run, &sick, Action::SignalStop(Some(3)), TaskState::Running);
    sick.stopped = Some(now);
    check(
        &run,
        &sick,
        Action::Wait(now.after(Duration::from_secs(10))),
        TaskState::Running,
    );
    // That managers replace it meanwhile changes nothing.
    let replaced = task(TaskState::Shutdown, false);
    check(
        &replaced,
        &sick,
        Action::Wait(now.after(Duration::from_secs(10))),
        TaskState::Running,
    );
    sick.stage = ended(Cause::Exited(0));
    let status = step(Some(&run), &sick, now).status.unwrap();
    assert_eq!(
        (status.state, status.exit_code),
        (TaskState::Failed, Some(0))
    );
    assert!(
        status.error.contains("unhealthy") && status.error.ends_with("no"),
        "{status:?}"
    );
}

#[test]
fn a_task_that_is_to_end_is_tested_no_more() {
    let then = Moment(Duration::from_secs(1));
    let health = Health::begin(check_every(5), then, Known::Well);
    let stopping = task(TaskState::Shutdown, false);
    check(&stopping, &tested(health), Action::Rest, TaskState::Running);
}

const KEY: FileId = FileId::new(FileKind::Secret, 1);
const PAGE: FileId = FileId::new(FileKind::Config, 1);

/// A file, its revision, and the last one with a signal.
type Wanted = (FileId, u64, Option<(u64, i32)>);

fn filed(desired: TaskState, files: &[Wanted]) -> AssignedTask {
    let files = files.iter().map(|(file, revision, signal)| AssignedFile {
        file: *file,
        revision: *revision,
        signal: *signal,
    });
    AssignedTask {
        files: files.collect(),
        ..task(desired, false)
    }
}

#[test]
fn files_are_given_before_the_start_and_only_when_all_are_here() {
    let run = filed(TaskState::Running, &[(KEY, 1, None), (PAGE, 2, None)]);
    let mut made = local(Stage::Created);
    check(&run, &made, Action::Rest, TaskState::Preparing);
    made.contents.insert((KEY, 1));
    check(&run, &made, Action::Rest, TaskState::Preparing);
    made.contents.insert((PAGE, 2));
    check(&run, &made, Action::Give, TaskState::Preparing);
    let ready = filed(TaskState::Ready, &[(KEY, 1, None), (PAGE, 2, None)]);
    check(&ready, &made, Action::Give, TaskState::Preparing);
    made.files = [(KEY, 1), (PAGE, 2)].into();
    check(&run, &made, Action::Start, TaskState::Starting);
    check(&ready, &made, Action::Rest, TaskState::Ready);
}

#[test]
fn what_runs_goes_on_while_a_new_content_is_not_here() {
    let run = filed(TaskState::Running, &[(KEY, 2, None)]);
    let mut runs = local(Stage::Running { pid: 1 });
    runs.files = [(KEY, 1)].into();
    check(&run, &runs, Action::Rest, TaskState::Running);
    runs.contents.insert((KEY, 2));
    check(&run, &runs, Action::Give, TaskState::Running);
    runs.unwell = Some("sick".into());
    check(&run, &runs, Action::SignalStop(Some(3)), TaskState::Running);
    let stop = filed(TaskState::Shutdown, &[(KEY, 2, None)]);
    runs.unwell = None;
    check(&stop, &runs, Action::Rest, TaskState::Running);
}

#[test]
fn a_signal_comes_once_for_all_that_was_missed_and_not_with_the_first_content() {
    let run = filed(
        TaskState::Running,
        &[(KEY, 5, Some((3, 1))), (PAGE, 2, Some((2, 1)))],
    );
    let mut runs = local(Stage::Running { pid: 1 });
    assert!(signals(&run, &runs).is_empty());
    runs.files = [(KEY, 2), (PAGE, 1)].into();
    assert_eq!(signals(&run, &runs), [1].into());
    runs.files = [(KEY, 4), (PAGE, 2)].into();
    assert!(signals(&run, &runs).is_empty());
}
