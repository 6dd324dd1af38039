//! The protocol's bytes are a promise to running supervisors.

use super::*;

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(encode(value, &mut frame));
    frame
}

#[test]
fn released_bytes_never_change() {
    assert_eq!(bytes(&Request::Start), [1, 0, 0, 0, 1]);
    assert_eq!(bytes(&Request::State), [1, 0, 0, 0, 2]);
    assert_eq!(bytes(&Request::Kill(15)), [2, 0, 0, 0, 3, 30]);
    assert_eq!(bytes(&Request::Wait), [1, 0, 0, 0, 4]);
    assert_eq!(bytes(&Reply::Created { pid: 7 }), [2, 0, 0, 0, 0, 14]);
    assert_eq!(
        bytes(&Reply::State(Stage::Running { pid: 7 })),
        [3, 0, 0, 0, 2, 1, 14]
    );
    let exit = Exit {
        code: 137,
        signal: Some(9),
        oom_kills: 1,
        at_ms: 5,
        failure: None,
    };
    assert_eq!(
        bytes(&Reply::Ended(exit.clone())),
        [8, 0, 0, 0, 3, 146, 2, 1, 18, 1, 5, 0]
    );
    let exited = bytes(&Reply::Exited(exit.clone()));
    assert_eq!(exited, [8, 0, 0, 0, 7, 146, 2, 1, 18, 1, 5, 0]);
    assert_eq!(note_bytes(&Note::Ended(exit)), [1, 146, 2, 1, 18, 1, 5, 0]);
    assert_eq!(bytes(&Request::Signal(15)), [2, 0, 0, 0, 6, 30]);
    assert_eq!(bytes(&Reply::Started { pid: 7 }), [2, 0, 0, 0, 6, 14]);
    let exec = Exec {
        candidates: vec![c"/a".into()],
        args: vec![c"a".into()],
        env: Vec::new(),
        cwd: c"/".into(),
        uid: 1,
        gid: 2,
        groups: vec![3],
        privileged: true,
        terminal: Some((24, 80)),
        detached: false,
    };
    assert_eq!(
        bytes(&Request::Exec(Box::new(exec))),
        [
            20, 0, 0, 0, 5, 1, 2, 47, 97, 1, 1, 97, 0, 1, 47, 1, 2, 1, 3, 1, 1, 24, 80, 0
        ]
    );
}

#[test]
fn half_a_frame_is_waited_for() {
    let frame = bytes(&Request::Kill(15));
    for cut in 0..frame.len() {
        assert!(
            matches!(decode::<Request>(&frame[..cut]), Ok(None)),
            "{cut}"
        );
    }
    assert!(matches!(
        decode::<Request>(&frame),
        Ok(Some((Request::Kill(15), 6)))
    ));
}

#[test]
fn unknown_request_is_skipped_and_the_next_one_read() {
    let mut stream = vec![1, 0, 0, 0, 99];
    stream.extend(bytes(&Request::State));
    let Err(FrameError::Unknown { length }) = decode::<Request>(&stream) else {
        panic!("variant 99 was understood")
    };
    assert!(matches!(
        decode::<Request>(&stream[length..]),
        Ok(Some((Request::State, 5)))
    ));
}

#[test]
fn endless_frame_is_refused_before_it_is_read() {
    let frame = u32::MAX.to_le_bytes();
    assert!(matches!(
        decode::<Request>(&frame),
        Err(FrameError::TooLong(_))
    ));
}

#[test]
fn damaged_note_is_no_note() {
    assert_eq!(read_note(&[]), None);
    assert_eq!(read_note(&[9, 9, 9]), None);
}
