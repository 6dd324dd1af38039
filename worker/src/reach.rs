//! Reaches one of several managers without waiting for those that are gone.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use skep_proto::node::Role;
use tonic::transport::Channel;

use crate::dial::Dial;

/// Who does not answer within this is not waited for alone. A handshake takes a few milliseconds; a machine without
/// power never answers, and nodes that look for a leader for three seconds are down.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to `managers` in their order, the next one after each failure and each [`HEAD_START`] of silence; the first
/// that answers counts, and the others are let go of.
///
/// # Errors
/// What the last one said, where none answers within `patience`.
pub(crate) async fn first(
    dial: &Dial,
    managers: impl IntoIterator<Item = SocketAddr>,
    patience: Duration,
) -> io::Result<(SocketAddr, Channel)> {
    let mut left: VecDeque<SocketAddr> = managers.into_iter().collect();
    let mut dialled = FuturesUnordered::new();
    let mut said = io::Error::other("no manager is known");
    loop {
        if let Some(manager) = left.pop_front() {
            let asked = tokio::time::timeout(patience, dial(manager, Some(Role::Manager)));
            dialled.push(async move {
                let answer = asked.await.unwrap_or_else(|_| {
                    let late = format!("{manager} does not answer within {patience:?}");
                    Err(io::Error::new(io::ErrorKind::TimedOut, late))
                });
                answer.map(|channel| (manager, channel))
            });
        } else if dialled.is_empty() {
            return Err(said);
        }
        tokio::select! {
            Some(answer) = dialled.next() => match answer {
                Ok(reached) => return Ok(reached),
                Err(error) => said = error,
            },
            () = tokio::time::sleep(HEAD_START), if !left.is_empty() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use tonic::transport::Endpoint;

    use super::*;

    /// What a manager does, and who was dialled in which order.
    fn dial(answers: [&'static str; 3]) -> (Dial, Arc<Mutex<Vec<u16>>>) {
        let dialled = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&dialled);
        let dial: Dial = Arc::new(move |manager, _| {
            seen.lock().unwrap().push(manager.port());
            let answer = answers[usize::from(manager.port())];
            async move {
                match answer {
                    "there" => Ok(Endpoint::from_static("http://node").connect_lazy()),
                    "silent" => std::future::pending().await,
                    other => Err(io::Error::other(other)),
                }
            }
            .boxed()
        });
        (dial, dialled)
    }

    async fn reached(answers: [&'static str; 3]) -> (io::Result<u16>, Vec<u16>) {
        let (dial, dialled) = dial(answers);
        let managers = (0..3).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let first = first(&dial, managers, 4 * HEAD_START).await;
        let dialled = dialled.lock().unwrap().clone();
        (first.map(|(manager, _)| manager.port()), dialled)
    }

    #[tokio::test]
    async fn the_first_that_answers_counts_and_no_other_is_asked() {
        let (first, dialled) = reached(["there", "there", "there"]).await;
        assert_eq!((first.unwrap(), dialled), (0, vec![0]));
        let (first, dialled) = reached(["gone", "there", "there"]).await;
        assert_eq!((first.unwrap(), dialled), (1, vec![0, 1]));
    }

    #[tokio::test]
    async fn one_that_is_silent_holds_nobody_up() {
        let (first, dialled) = reached(["silent", "silent", "there"]).await;
        assert_eq!((first.unwrap(), dialled), (2, vec![0, 1, 2]));
    }

    #[tokio::test]
    async fn where_none_answers_the_last_says_why() {
        let (first, dialled) = reached(["gone", "silent", "gone too"]).await;
        assert!(first.unwrap_err().to_string().contains("does not answer"));
        assert_eq!(dialled, vec![0, 1, 2]);
    }
}
