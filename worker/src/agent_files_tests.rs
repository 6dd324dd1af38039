//! Tasks with secrets and configs: what they wait for, what they are given, and what is on the disk.

use skep_proto::assignment::AssignedFile;
use skep_proto::ids::SecretId;
use skep_proto::spec::FileUse;

use super::*;

const SECRET: SecretId = SecretId::new(5);

pub(super) fn note(exec: &FakeExec, files: &[GivenFile]) {
    for file in files {
        let content = String::from_utf8_lossy(file.content.bytes());
        exec.note(&format!("give {} {content}", file.target));
    }
}

fn given(revision: u64, signal: Option<(u64, i32)>) -> AssignedTask {
    let mut task = changed(|container| {
        container.secrets = vec![FileUse {
            id: SECRET,
            name: "key".into(),
            target: "/run/secrets/key".into(),
            uid: 0,
            gid: 0,
            mode: 0o444,
            revision: Some(1),
        }];
    });
    task.files = vec![AssignedFile {
        file: SECRET.into(),
        revision,
        signal,
    }];
    task
}

impl Node {
    async fn told(&self, revision: u64, text: &str) {
        let content = Content::new(text.as_bytes().to_vec());
        self.agent()
            .take_content(SECRET.into(), revision, content)
            .await;
    }

    /// Waits until that was done.
    async fn did(&self, act: &str) {
        let wait = async {
            while !self.exec.acts().iter().any(|it| it == act) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
        waited.unwrap_or_else(|_| panic!("{act}: {:?}", self.exec.acts()));
    }

    async fn held(&self) -> usize {
        self.agent().state.lock().await.contents.len()
    }
}

#[tokio::test]
async fn a_task_that_is_only_to_be_ready_waits() {
    let node = Node::new().await;
    node.obey(1, vec![task(TaskState::Ready)]).await;
    node.reported(TASK, TaskState::Ready).await;
    assert_eq!(node.exec.acts(), ["fetch", "create"]);
    node.obey(2, vec![task(TaskState::Running)]).await;
    node.reported(TASK, TaskState::Running).await;
}

#[tokio::test]
async fn a_task_is_given_its_secret_before_it_starts() {
    let node = Node::new().await;
    node.told(1, "sesame").await;
    node.obey(1, vec![given(1, None)]).await;
    node.reported(TASK, TaskState::Running).await;
    assert_eq!(
        node.exec.acts(),
        ["fetch", "create", "give /run/secrets/key sesame", "start"]
    );
}

#[tokio::test]
async fn a_task_waits_for_its_secret_and_says_so() {
    let node = Node::new().await;
    node.obey(1, vec![given(1, None)]).await;
    let wait = async {
        loop {
            let status = node.reported(TASK, TaskState::Preparing).await;
            if status.message == "waiting for a manager to send secret \"key\"" {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap();
    assert_eq!(node.exec.acts(), ["fetch", "create"]);
    node.told(1, "sesame").await;
    node.obey(2, vec![given(1, None)]).await;
    node.reported(TASK, TaskState::Running).await;
}

#[tokio::test]
async fn a_rotated_secret_is_replaced_and_then_comes_its_signal() {
    let node = Node::new().await;
    node.told(1, "one").await;
    node.obey(1, vec![given(1, None)]).await;
    node.reported(TASK, TaskState::Running).await;
    node.told(2, "two").await;
    node.obey(2, vec![given(2, None)]).await;
    node.did("give /run/secrets/key two").await;
    assert_eq!(node.held().await, 1, "the old one has gone from memory");
    assert!(!node.exec.acts().contains(&"signal".to_owned()));
    node.told(4, "four").await;
    node.obey(3, vec![given(4, Some((3, 1)))]).await;
    node.did("signal").await;
    let acts = node.exec.acts();
    let at = |act: &str| acts.iter().position(|it| it == act).unwrap();
    assert!(at("give /run/secrets/key four") < at("signal"), "{acts:?}");
}

#[tokio::test]
async fn a_later_daemon_knows_what_is_shown_and_the_disk_holds_no_content() {
    let mut node = Node::new().await;
    node.told(1, "open-sesame").await;
    node.obey(1, vec![given(1, Some((1, 1)))]).await;
    node.reported(TASK, TaskState::Running).await;
    let kept = async {
        while node
            .db
            .as_ref()
            .unwrap()
            .tasks(Default::default())
            .unwrap()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), kept)
        .await
        .unwrap();
    node.restart().await;
    assert_eq!(node.held().await, 0);
    node.told(1, "open-sesame").await;
    node.obey(2, vec![given(1, Some((1, 1)))]).await;
    node.told(2, "two").await;
    node.obey(3, vec![given(2, Some((2, 1)))]).await;
    node.did("signal").await;
    let acts = node.exec.acts();
    let count = |act: &str| acts.iter().filter(|it| *it == act).count();
    assert_eq!(count("give /run/secrets/key open-sesame"), 1, "{acts:?}");
    assert_eq!(count("signal"), 1, "{acts:?}");
    let kept = std::fs::read(node.directory.path().join("worker.redb")).unwrap();
    assert!(!kept.windows(11).any(|part| part == b"open-sesame"));
}

#[tokio::test]
async fn what_no_task_needs_is_not_held() {
    let node = Node::new().await;
    node.told(1, "one").await;
    node.obey(1, vec![given(1, None)]).await;
    assert_eq!(node.held().await, 1);
    let ending = AssignedTask {
        desired: TaskState::Shutdown,
        ..given(1, None)
    };
    node.obey(2, vec![ending]).await;
    assert_eq!(node.held().await, 0);
}
