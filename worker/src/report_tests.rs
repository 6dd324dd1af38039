//! Reports are kept until they are committed.

use super::*;
use skep_proto::task::TaskState;
use skep_proto::time::WallTime;

fn status(state: TaskState) -> TaskStatus {
    TaskStatus::of(state, WallTime::from_unix_millis(1))
}

fn task(number: u128) -> TaskId {
    TaskId::new(number)
}

#[test]
fn only_the_last_status_goes_out_and_only_once() {
    let outbox = Outbox::default();
    outbox.begin(Vec::new());
    outbox.task(task(1), status(TaskState::Preparing));
    outbox.task(task(1), status(TaskState::Running));
    let report = outbox.next().unwrap();
    assert_eq!(report.tasks, [(task(1), status(TaskState::Running))]);
    assert_eq!(outbox.next(), None, "one is under way");
    outbox.committed();
    assert_eq!(outbox.next(), None, "all is told");
    outbox.task(task(1), status(TaskState::Running));
    assert_eq!(outbox.next(), None, "nothing new");
}

#[test]
fn what_was_not_committed_is_said_again_in_the_next_session() {
    let outbox = Outbox::default();
    outbox.begin(Vec::new());
    outbox.task(task(1), status(TaskState::Running));
    let report = outbox.next().unwrap();
    outbox.begin(Vec::new());
    assert_eq!(outbox.next(), Some(report));
}

#[test]
fn what_changes_while_a_report_is_under_way_comes_next() {
    let outbox = Outbox::default();
    outbox.begin(Vec::new());
    outbox.task(task(1), status(TaskState::Starting));
    outbox.next().unwrap();
    outbox.task(task(1), status(TaskState::Running));
    outbox.committed();
    let report = outbox.next().unwrap();
    assert_eq!(report.tasks, [(task(1), status(TaskState::Running))]);
}

#[test]
fn networks_are_said_again_to_each_session_and_images_by_hello() {
    let outbox = Outbox::default();
    outbox.begin(Vec::new());
    outbox.networks([(NetworkId::new(1), 7)]);
    assert_eq!(outbox.next().unwrap().networks, [(NetworkId::new(1), 7)]);
    outbox.committed();
    let image = Digest([1; 32]);
    outbox.images(vec![image]);
    assert_eq!(outbox.next().unwrap().images, Some(vec![image]));
    outbox.begin(vec![image]);
    let again = outbox.next().unwrap();
    assert_eq!((again.networks.len(), again.images), (1, None));
}

#[test]
fn a_forgotten_task_is_not_remembered() {
    let outbox = Outbox::default();
    outbox.begin(Vec::new());
    outbox.task(task(1), status(TaskState::Failed));
    outbox.next().unwrap();
    outbox.forget(task(1));
    outbox.committed();
    assert!(outbox.inner().tasks.told.is_empty());
    assert_eq!(outbox.next(), None);
}

#[test]
fn causes_are_named_once() {
    let inner = std::io::Error::other("no space");
    let outer = crate::exec::image::ImageError::Read {
        what: "the archive".to_owned(),
        source: inner,
    };
    assert_eq!(with_causes(&outer), "cannot read the archive: no space");
}
