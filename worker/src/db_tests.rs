//! What is remembered over a restart.

use std::sync::Arc;

use skep_proto::assignment::Generation;
use skep_proto::view::View;

use super::*;

fn reopened(directory: &tempfile::TempDir, db: Db) -> Db {
    drop(db);
    Db::open(directory.path()).unwrap()
}

#[tokio::test]
async fn the_assignment_and_the_managers_are_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(directory.path()).unwrap();
    assert_eq!(db.assignment().unwrap(), None);
    assert!(db.managers().unwrap().is_empty());
    let assignment = Assignment {
        generation: Generation {
            incarnation: 1,
            term: 2,
            index: 3,
        },
        view: Arc::new(View {
            data_path_port: 4789,
            ..View::default()
        }),
        ..Assignment::default()
    };
    db.keep_assignment(&assignment).await.unwrap();
    let managers: Vec<SocketAddr> = vec!["10.0.0.1:2377".parse().unwrap()];
    db.keep_managers(&managers).await.unwrap();
    let db = reopened(&directory, db);
    assert_eq!(db.assignment().unwrap(), Some(assignment));
    assert_eq!(db.managers().unwrap(), managers);
}

#[tokio::test]
async fn how_tasks_ended_is_there_again_until_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(directory.path()).unwrap();
    let now = Moment::default();
    let ended = Local {
        stage: Stage::Removed(Ending {
            cause: Cause::Exited(143),
            error: "why".to_owned(),
        }),
        since: WallTime::from_unix_millis(9),
        stopped: Some(now),
        killed: false,
        unwell: Some("unhealthy".into()),
        files: [
            (FileId::new(FileKind::Secret, 3), 2),
            (FileId::new(FileKind::Config, 3), 7),
        ]
        .into(),
        ..Local::default()
    };
    let stopping = Local {
        stage: Stage::Running { pid: 1 },
        killed: true,
        ..Local::default()
    };
    db.keep_task(TaskId::new(1), &ended).await.unwrap();
    db.keep_task(TaskId::new(2), &stopping).await.unwrap();
    let db = reopened(&directory, db);
    let found = db.tasks(now).unwrap();
    assert_eq!(found.first(), Some(&(TaskId::new(1), ended)));
    assert!(found[1].1.killed && found[1].1.stage == Stage::Absent);
    db.forget_task(TaskId::new(1)).await.unwrap();
    db.forget_task(TaskId::new(2)).await.unwrap();
    assert!(reopened(&directory, db).tasks(now).unwrap().is_empty());
}

#[tokio::test]
async fn a_record_of_a_later_release_is_not_guessed_at() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(directory.path()).unwrap();
    let later = |writing: &redb::WriteTransaction| {
        let mut table = writing.open_table(SINGLE)?;
        table.insert(ASSIGNMENT, [VERSION + 1, 0].as_slice())?;
        Ok(())
    };
    db.write("test", later).await.unwrap();
    let refused = db.assignment().unwrap_err().to_string();
    assert!(refused.contains("version 2"), "{refused}");
}
