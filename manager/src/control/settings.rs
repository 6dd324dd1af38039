//! Settings of the whole cluster.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::cluster::{Cluster, ClusterSpec};
use skep_proto::ids::RequestId;
use tonic::Status;

use super::Control;
use crate::state::{Answer, Change};

/// A worker beats no faster than this, and no slower: what it sends must be heard several times before it is
/// taken for lost.
const HEARTBEATS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));
/// So many beats must be missed, at least, before a node is down.
const MISSED: u32 = 3;
/// Certificates last at least so long, as in Docker.
const LEAST_EXPIRY: Duration = Duration::from_secs(3600);

/// What is to be changed; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) heartbeat: Option<Duration>,
    pub(super) down_after: Option<Duration>,
    pub(super) orphan_after: Option<Duration>,
    pub(super) task_history: Option<u32>,
    pub(super) certificate_expiry: Option<Duration>,
}

impl Control {
    /// Changes settings of the cluster.
    pub(super) async fn update_clu(
        &self,
        request: RequestId,
        settings: Settings,
    ) -> Result<Arc<Cluster>, Status> {
        let state = self.read().await?;
        let old = self.cluster(&state)?;
        if state.answered(request).is_some() {
            return Ok(old);
        }
        let spec = changed(&old.spec, &settings);
        checked(&spec)?;
        if spec == old.spec {
            return Ok(old);
        }
        let paced = spec.heartbeat != old.spec.heartbeat || spec.down_after != old.spec.down_after;
        let new = Cluster {
            spec,
            ..Cluster::clone(&old)
        };
        let changes = vec![Change::PutCluster(Arc::new(new))];
        self.commit(request, Answer::Cluster(old.id), changes)
            .await?;
        if paced {
            // A session tells its worker how often to beat when it opens.
            self.live.open_anew();
        }
        self.cluster(&self.ring.stale())
    }
}

fn changed(old: &ClusterSpec, settings: &Settings) -> ClusterSpec {
    ClusterSpec {
        heartbeat: settings.heartbeat.unwrap_or(old.heartbeat),
        down_after: settings.down_after.unwrap_or(old.down_after),
        orphan_after: settings.orphan_after.unwrap_or(old.orphan_after),
        task_history: settings.task_history.unwrap_or(old.task_history),
        certificate_expiry: settings
            .certificate_expiry
            .unwrap_or(old.certificate_expiry),
        ..old.clone()
    }
}

fn checked(spec: &ClusterSpec) -> Result<(), Status> {
    let (least, most) = HEARTBEATS;
    if spec.heartbeat < least || spec.heartbeat > most {
        return Err(Status::invalid_argument(format!(
            "--heartbeat-period: {:?} must be from {least:?} to {most:?}",
            spec.heartbeat
        )));
    }
    let missed = spec.heartbeat.saturating_mul(MISSED);
    if spec.down_after < missed {
        return Err(Status::invalid_argument(format!(
            "--down-after: {:?} is less than {MISSED} heartbeats of {:?}, so that one lost packet would bring a \
             node down; use at least {missed:?}, or a shorter --heartbeat-period",
            spec.down_after, spec.heartbeat
        )));
    }
    if spec.orphan_after < spec.down_after {
        return Err(Status::invalid_argument(format!(
            "--orphan-after: {:?} is less than --down-after, {:?}",
            spec.orphan_after, spec.down_after
        )));
    }
    if spec.certificate_expiry < LEAST_EXPIRY {
        return Err(Status::invalid_argument(format!(
            "--cert-expiry: {:?} is less than an hour, the least that can be set",
            spec.certificate_expiry
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_that_would_bring_nodes_down_is_refused() {
        let seconds = Duration::from_secs;
        for (settings, field) in [
            (
                Settings {
                    heartbeat: Some(seconds(2)),
                    ..Settings::default()
                },
                Some("--down-after"),
            ),
            (
                Settings {
                    heartbeat: Some(seconds(2)),
                    down_after: Some(seconds(6)),
                    ..Settings::default()
                },
                None,
            ),
            (
                Settings {
                    heartbeat: Some(Duration::ZERO),
                    ..Settings::default()
                },
                Some("--heartbeat-period"),
            ),
            (
                Settings {
                    orphan_after: Some(seconds(1)),
                    ..Settings::default()
                },
                Some("--orphan-after"),
            ),
            (
                Settings {
                    certificate_expiry: Some(seconds(60)),
                    ..Settings::default()
                },
                Some("--cert-expiry"),
            ),
        ] {
            let said = checked(&changed(&ClusterSpec::default(), &settings));
            let said = said.err().map(|status| status.message().to_owned());
            assert_eq!(
                field,
                said.as_deref().and_then(|it| it.split(':').next()),
                "{settings:?}"
            );
        }
    }
}
