//! What goes out comes back in; what is wrong is refused with its place.

use std::fmt::Debug;

use proptest::prelude::*;
use prost::Message;

use super::arbitrary::Draw;
use super::{WireError, v1};
use crate::assignment::{Assignment, Report};
use crate::cluster::Cluster;
use crate::difference::{Difference, difference};
use crate::file::File;
use crate::network::Network;
use crate::node::Node;
use crate::service::Service;
use crate::task::Task;

fn round_trip<W, T>(value: &T)
where
    W: Message + Default + for<'a> From<&'a T>,
    T: TryFrom<W, Error = WireError> + PartialEq + Debug,
{
    let bytes = W::from(value).encode_to_vec();
    let message = W::decode(bytes.as_slice()).expect("it was encoded just now");
    assert_eq!(T::try_from(message).as_ref(), Ok(value));
}

proptest! {
    #[test]
    fn what_goes_out_comes_back_in(seed: u64) {
        let mut draw = Draw::new(seed);
        round_trip::<v1::Service, Service>(&draw.service());
        round_trip::<v1::Task, Task>(&draw.task());
        round_trip::<v1::Node, Node>(&draw.node());
        round_trip::<v1::Network, Network>(&draw.network());
        round_trip::<v1::StoredFile, File>(&draw.stored_file());
        round_trip::<v1::Cluster, Cluster>(&draw.cluster());
        round_trip::<v1::Report, Report>(&draw.report());
        let (old, new) = (draw.assignment(), draw.assignment());
        round_trip::<v1::Assignment, Assignment>(&new);
        round_trip::<v1::Difference, Difference>(&difference(&old, &new));
    }

    #[test]
    fn equal_objects_have_equal_bytes(seed: u64) {
        let service = |seed| v1::Service::from(&Draw::new(seed).service()).encode_to_vec();
        prop_assert_eq!(service(seed), service(seed));
    }
}

/// A task whose message `spoil` has changed, read again.
fn spoilt(spoil: impl FnOnce(&mut v1::Task)) -> Result<Task, WireError> {
    let mut message = v1::Task::from(&Draw::new(1).task());
    spoil(&mut message);
    Task::try_from(message)
}

#[test]
fn an_id_has_sixteen_bytes() {
    let error = spoilt(|task| task.service.truncate(3)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "field service: has 3 bytes instead of 16"
    );
}

#[test]
fn an_enumeration_without_a_value_is_refused() {
    let error = spoilt(|task| task.desired = 0).unwrap_err();
    assert_eq!(error, WireError::new("desired", "has no value"));
    let error = spoilt(|task| task.desired = 99).unwrap_err();
    assert_eq!(error, WireError::new("desired", "unknown value 99"));
}

#[test]
fn a_wrong_field_is_named_with_its_path() {
    let error = spoilt(|task| {
        if let Some(status) = &mut task.status {
            status.state = 0;
        }
    });
    assert_eq!(error.unwrap_err().field, "status.state");
    let error = spoilt(|task| task.status = None);
    assert_eq!(error, Err(WireError::missing("status")));
    let error = spoilt(|task| {
        task.attachments = vec![v1::NetworkAddress {
            network: vec![0; 16],
            address: vec![0; 5],
        }];
    });
    assert_eq!(error.unwrap_err().field, "attachments[0].address");
}

#[test]
fn a_number_that_is_too_large_is_refused() {
    let mut message = v1::Node::from(&Draw::new(1).node());
    message.number = 65536;
    let error = Node::try_from(message).unwrap_err();
    assert_eq!(error.to_string(), "field number: 65536 is out of range");
}

#[test]
fn secrets_are_not_printed() {
    let message = v1::Cluster::from(&Draw::new(7).cluster());
    let text = format!("{message:?}");
    assert!(text.contains("(not shown)"), "{text}");
    assert!(!text.contains("worker:"), "{text}");
}
