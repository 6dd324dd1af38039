//! Events.

use super::{WireError, enumeration, v1};
use crate::event::Event;
use crate::time::{ClusterTime, WallTime};

impl From<&Event> for v1::Event {
    fn from(event: &Event) -> Self {
        Self {
            revision: event.revision,
            position: event.position,
            time_ms: event.time.millis(),
            at_ms: event.at.unix_millis(),
            by: event.by.clone(),
            kind: v1::EventKind::from(event.kind).into(),
            action: v1::EventAction::from(event.action).into(),
            id: event.id.clone(),
            attributes: event.attributes.clone(),
            labels: event.labels.clone(),
        }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = WireError;

    fn try_from(from: v1::Event) -> Result<Self, WireError> {
        Ok(Self {
            revision: from.revision,
            position: from.position,
            time: ClusterTime::from_millis(from.time_ms),
            at: WallTime::from_unix_millis(from.at_ms),
            by: from.by,
            kind: enumeration::<v1::EventKind, _>(from.kind, "kind")?,
            action: enumeration::<v1::EventAction, _>(from.action, "action")?,
            id: from.id,
            attributes: from.attributes,
            labels: from.labels,
        })
    }
}
