use super::*;

const FULL: Duration = Duration::from_secs(3);

fn led() -> (Live, CancellationToken, Instant) {
    let (live, scope, now) = (Live::default(), CancellationToken::new(), Instant::now());
    live.begin(&State::default(), scope.clone(), now, FULL);
    (live, scope, now)
}

fn standing(live: &Live, at: Instant) -> plan::Session {
    live.seen(at, 0).nodes[&node()].session
}

fn node() -> NodeId {
    NodeId::new(7)
}

#[test]
fn who_does_not_lead_opens_no_session() {
    let live = Live::default();
    assert!(live.open(node(), Instant::now(), FULL).is_none());
}

#[test]
fn a_node_is_silent_after_its_deadline() {
    let (live, _, now) = led();
    let session = live.open(node(), now, FULL).unwrap();
    assert_ne!(standing(&live, now + FULL / 2), plan::Session::Silent);
    assert_eq!(standing(&live, now + FULL), plan::Session::Silent);
    live.heard(&session, now + FULL / 2, FULL);
    assert_ne!(standing(&live, now + FULL), plan::Session::Silent);
    assert_eq!(live.next_deadline(now), Some(now + FULL / 2 + FULL));
}

#[test]
fn a_closed_session_keeps_its_deadline_and_a_stopping_one_gets_more() {
    let (live, _, now) = led();
    let session = live.open(node(), now, FULL).unwrap();
    live.close(&session, now, None);
    assert_eq!(standing(&live, now + FULL), plan::Session::Silent);
    let session = live.open(node(), now, FULL).unwrap();
    live.close(&session, now, Some(RESTART_GRACE));
    assert_ne!(standing(&live, now + FULL), plan::Session::Silent);
    assert_eq!(standing(&live, now + RESTART_GRACE), plan::Session::Silent);
}

#[test]
fn an_older_session_of_a_node_ends_and_is_not_listened_to() {
    let (live, _, now) = led();
    let older = live.open(node(), now, FULL).unwrap();
    let newer = live.open(node(), now, FULL).unwrap();
    assert!(older.ended.is_cancelled() && !newer.ended.is_cancelled());
    live.images(&older, BTreeSet::from([Digest([1; 32])]));
    assert_eq!(live.holders(Digest([1; 32])), []);
    live.close(&older, now, None);
    assert_eq!(standing(&live, now), plan::Session::Opening);
}

#[test]
fn sessions_end_with_the_leader() {
    let (live, scope, now) = led();
    let session = live.open(node(), now, FULL).unwrap();
    scope.cancel();
    assert!(session.ended.is_cancelled());
}

#[test]
fn a_session_is_open_once_its_assignment_is_acknowledged() {
    let (live, _, now) = led();
    let session = live.open(node(), now, FULL).unwrap();
    assert_eq!(standing(&live, now), plan::Session::Opening);
    live.ready(&session);
    assert_eq!(standing(&live, now), plan::Session::Open);
    live.left(&session);
    assert_eq!(standing(&live, now), plan::Session::Left);
}
