//! Asks the leader who holds an image, and says so where nobody can give it.

use std::net::SocketAddr;
use std::time::Duration;

use skep_proto::image::Digest;
use skep_proto::node::Role;
use skep_proto::wire::v1;

use crate::dial::Dial;

/// For the leader to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who holds an image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Holders {
    /// Doors of those that are up.
    pub(crate) doors: Vec<SocketAddr>,
    /// Names of those that are down and had it.
    down: Vec<String>,
    /// Names of those that are down and may have had it.
    unheard: Vec<String>,
}

impl Holders {
    /// Asks the leader; `None` if it does not answer, or what it says is not understood.
    pub(crate) async fn ask(dial: &Dial, leader: SocketAddr, image: Digest) -> Option<Self> {
        let asked = async {
            let channel = dial(leader, Some(Role::Manager)).await.ok()?;
            let mut client = v1::dispatch_client::DispatchClient::new(channel);
            let image = image.0.to_vec();
            let answer = client.holders(v1::HoldersRequest { image }).await;
            Some(answer.ok()?.into_inner())
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.ok()??;
        Self::read(answer)
    }

    fn read(answer: v1::HoldersAnswer) -> Option<Self> {
        let mut holders = Self::default();
        for holder in answer.holders {
            match holder.state() {
                v1::HolderState::Up => {
                    let door = holder.door.map(SocketAddr::try_from).transpose().ok()?;
                    holders.doors.extend(door);
                }
                v1::HolderState::Down => holders.down.push(holder.name),
                v1::HolderState::Unheard => holders.unheard.push(holder.name),
                v1::HolderState::Unspecified => {}
            }
        }
        Some(holders)
    }

    /// Whether nobody has it, as far as anybody knows.
    pub(crate) fn is_nobody(&self) -> bool {
        self.doors.is_empty() && self.down.is_empty() && self.unheard.is_empty()
    }

    /// Why nobody gives it, for a person.
    pub(crate) fn reason(&self) -> String {
        let are = |names: &[String]| if names.len() == 1 { "is" } else { "are" };
        let listed = |names: &[String]| names.join(", ");
        match (&*self.down, &*self.unheard) {
            ([], []) => {
                "no node of the cluster holds it; bring it again with: skep image load, or skep \
                         image import"
                    .to_owned()
            }
            ([], names) => format!(
                "no node that is up holds it; {}, which {} down, may hold it",
                listed(names),
                are(names)
            ),
            (names, _) => format!(
                "it is held only by {}, which {} down",
                listed(names),
                are(names)
            ),
        }
    }
}

#[cfg(test)]
#[path = "holders_tests.rs"]
mod tests;
