//! How many may be asked about at once whose token this manager does not know: each costs the majority a question.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// Tokens that are looked into at once. One that was just made elsewhere is known here a moment later.
const PLACES: usize = 8;

/// The places of one service.
#[derive(Clone)]
pub(super) struct Strangers(Arc<Semaphore>);

impl Default for Strangers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Strangers {
    /// A place, until it is dropped.
    ///
    /// # Errors
    /// When all are taken: who has a token that counts asks again, or another manager.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            Status::unavailable(
                "this manager looks into as many unknown tokens as it may at once; ask again, or another manager",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{PLACES, Strangers};

    #[test]
    fn strangers_have_so_many_places_and_no_more() {
        let strangers = Strangers::default();
        let mut taken: Vec<_> = (0..PLACES).map(|_| strangers.place()).collect();
        assert!(taken.iter().all(Result::is_ok));
        let refused = strangers.clone().place().expect_err("none is left");
        assert!(refused.message().contains("ask again"), "{refused}");
        taken.pop();
        assert!(strangers.place().is_ok());
    }
}
