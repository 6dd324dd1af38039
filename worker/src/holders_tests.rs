use super::*;

fn holder(name: &str, state: v1::HolderState) -> v1::Holder {
    v1::Holder {
        name: name.into(),
        door: Some(v1::Address::from(SocketAddr::from((
            [192, 168, 0, 3],
            2377,
        )))),
        state: state.into(),
    }
}

fn check(holders: &[(&str, v1::HolderState)], expected: &str) {
    let holders = holders.iter().map(|(name, state)| holder(name, *state));
    let holders = holders.collect();
    let read = Holders::read(v1::HoldersAnswer { holders }).unwrap();
    assert!(read.reason().contains(expected), "{}", read.reason());
    assert_eq!(read.doors, []);
}

#[test]
fn who_would_have_it_is_named() {
    use v1::HolderState::{Down, Unheard};
    check(&[], "no node of the cluster holds it");
    let down = "it is held only by node-3, which is down";
    check(&[("node-3", Down)], down);
    check(&[("node-3", Down), ("node-4", Unheard)], down);
    check(
        &[("node-3", Down), ("node-4", Down)],
        "node-3, node-4, which are down",
    );
    check(&[("node-4", Unheard)], "node-4, which is down, may hold it");
}

#[test]
fn doors_are_of_those_that_are_up() {
    let holders = vec![
        holder("node-3", v1::HolderState::Up),
        v1::Holder {
            door: None,
            ..holder("node-4", v1::HolderState::Up)
        },
    ];
    let read = Holders::read(v1::HoldersAnswer { holders }).unwrap();
    assert_eq!(read.doors, [SocketAddr::from(([192, 168, 0, 3], 2377))]);
}
