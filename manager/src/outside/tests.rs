//! Which token is one of the cluster.

use std::sync::Arc;

use skep_proto::channel::{AccessToken, root_digest};
use skep_proto::cluster::{Authority, Cluster, ClusterSpec, JoinSecrets};
use skep_proto::ids::{ClusterId, TokenId};
use skep_proto::time::WallTime;
use skep_proto::token::{StoredToken, Token, TokenRole, TokenSpec, secret_digest};
use tonic::codegen::http::{HeaderMap, HeaderValue};

use super::known::{Unknown, known};
use super::shown;
use crate::state::{Change, Entry, State};

const ROOT: &[u8] = b"a root certificate";
const SECRET: [u8; 32] = [7; 32];
const ID: TokenId = TokenId::new(4);

fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_millis(seconds * 1000)
}

fn token(expires: Option<WallTime>) -> Change {
    Change::PutToken(Arc::new(StoredToken {
        token: Token {
            id: ID,
            version: 0,
            created: at(0),
            by: "anna@host".into(),
            expires,
            spec: TokenSpec {
                name: "ci".into(),
                role: TokenRole::Read,
            },
        },
        digest: secret_digest(&SECRET),
    }))
}

fn applied(state: &mut State, index: u64, change: Change) -> bool {
    let entry = Entry {
        changes: vec![change],
        ..Entry::default()
    };
    state.apply(index, &entry).fits()
}

fn state(expires: Option<WallTime>) -> State {
    let mut state = State::default();
    let cluster = Cluster {
        id: ClusterId::new(1),
        version: 0,
        created: at(0),
        spec: ClusterSpec::default(),
        authority: Authority {
            certificate: ROOT.to_vec(),
            key: Vec::new(),
        },
        tokens: JoinSecrets {
            worker: [0; 16],
            manager: [0; 16],
        },
        feature_level: 1,
        incarnation: 1,
    };
    assert!(applied(
        &mut state,
        1,
        Change::PutCluster(Arc::new(cluster))
    ));
    assert!(applied(&mut state, 2, token(expires)));
    state
}

fn show(id: TokenId, root: &[u8], secret: [u8; 32]) -> AccessToken {
    AccessToken {
        root_digest: root_digest(root),
        id,
        secret,
    }
}

#[test]
fn whoever_has_the_secret_is_known_until_the_token_is_over() {
    let good = show(ID, ROOT, SECRET);
    let found = known(&state(Some(at(90))), &good, at(80)).expect("a token");
    assert_eq!(found.token.spec.name, "ci");
    assert!(known(&state(None), &good, at(u64::from(u32::MAX))).is_ok());
    let over = known(&state(Some(at(90))), &good, at(190)).expect_err("over");
    assert!(
        over.to_string()
            .contains("\"ci\" has expired: it was valid until 1m40s ago"),
        "{over}"
    );
}

#[test]
fn what_is_wrong_with_a_token_is_told_apart() {
    let mut state = state(None);
    let refused = |state: &State, shown| known(state, &shown, at(1)).expect_err("refused");
    assert_eq!(refused(&state, show(ID, ROOT, [8; 32])), Unknown::Secret);
    let other = TokenId::new(5);
    assert_eq!(
        refused(&state, show(other, ROOT, SECRET)),
        Unknown::Revoked(other.to_string())
    );
    assert_eq!(
        refused(&state, show(other, b"another", SECRET)),
        Unknown::OtherCluster
    );
    // The root may have been rotated since: what counts is that the cluster knows it.
    assert!(known(&state, &show(ID, b"an older root", SECRET), at(1)).is_ok());
    let gone = Change::DeleteToken {
        token: ID,
        version: 2,
    };
    assert!(applied(&mut state, 3, gone));
    assert_eq!(
        refused(&state, show(ID, ROOT, SECRET)),
        Unknown::Revoked(ID.to_string())
    );
    assert!(state.token_named("ci").is_none());
}

#[test]
fn a_token_is_made_once_and_its_name_is_its_own() {
    let mut state = state(None);
    let Change::PutToken(stored) = token(None) else {
        panic!("it is one");
    };
    let with = |change: fn(&mut Token)| {
        let mut stored = StoredToken::clone(&stored);
        change(&mut stored.token);
        Change::PutToken(Arc::new(stored))
    };
    assert!(!applied(&mut state, 3, with(|_| {})), "it is there");
    let longer = with(|token| {
        token.version = 2;
        token.spec.role = TokenRole::Admin;
    });
    assert!(!applied(&mut state, 4, longer), "its role is set once");
    assert!(
        !applied(&mut state, 5, with(|token| token.id = TokenId::new(5))),
        "the name is taken"
    );
    let other = with(|token| {
        token.id = TokenId::new(5);
        token.spec.name = "other".into();
    });
    assert!(applied(&mut state, 6, other));
    let stale = Change::DeleteToken {
        token: ID,
        version: 1,
    };
    assert!(!applied(&mut state, 7, stale));
    let pieces: Vec<_> = state.objects().collect();
    assert_eq!(State::from_objects(pieces), state);
    let told: Vec<String> = state
        .events_after((0, 0))
        .map(|event| {
            format!(
                "{} {} {}",
                event.kind, event.action, event.attributes["name"]
            )
        })
        .collect();
    assert_eq!(told[1..], ["token create ci", "token create other"]);
}

#[test]
fn a_token_is_taken_out_of_the_call() {
    let text = show(ID, ROOT, SECRET).to_string();
    let with = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(
            "authorization",
            HeaderValue::from_str(text).expect("a header"),
        );
        let shown = shown(&mut headers);
        assert!(headers.is_empty());
        shown
    };
    assert_eq!(with(&format!("Bearer {text}")), Ok(show(ID, ROOT, SECRET)));
    assert!(with(&text).is_err() && with("Basic x").is_err() && with("Bearer x").is_err());
    assert_eq!(shown(&mut HeaderMap::new()), Err(Unknown::Nothing));
}
