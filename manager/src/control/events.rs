//! Tells what happened and what happens, from what this manager has applied. Converts too.
//!
//! Every manager answers this itself: a leader's death does not break the stream of another manager, and who
//! is cut off goes on at the revision where it was, with any manager. A reader that is slow is waited for; what
//! leaves the ring meanwhile is said to be gone.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use skep_proto::event::Event;
use skep_proto::time::WallTime;
use skep_proto::wire::v1;
use skep_proto::wire::v1::events_answer::Answer;
use skep_proto::wire::v1::moment::Moment as WireMoment;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::event_filter::EventFilter;
use super::{Control, refuse};
use crate::ring::wall_time;
use crate::state::{EventPlace, State};

/// Answers that wait for a slow reader.
const BEHIND: usize = 4;
/// Events that are looked at for one answer.
const BATCH: usize = 512;
/// A quiet stream asks so often whether this manager still reaches a majority.
const DOUBT: Duration = Duration::from_secs(15);

/// A stream of events.
pub(super) type Told = Pin<Box<dyn Stream<Item = Result<v1::EventsAnswer, Status>> + Send>>;

/// A point in the cluster's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    Wall(WallTime),
    Place(EventPlace),
}

/// What one reader wants, and how far it is.
struct Reader {
    /// Up to here all has been looked at.
    place: EventPlace,
    /// Up to here the answer has said so.
    said: EventPlace,
    /// Of what had happened when the reader came, only what is not older.
    not_before: Option<(WallTime, EventPlace)>,
    until: Option<Moment>,
    filter: EventFilter,
}

/// Why the events end.
enum Ending {
    /// All that was wanted was told, or the reader has gone.
    Done,
    /// Something to be said.
    With(Status),
}

fn moment(message: Option<v1::Moment>) -> Option<Moment> {
    message
        .and_then(|message| message.moment)
        .map(|moment| match moment {
            WireMoment::WallMs(millis) => Moment::Wall(WallTime::from_unix_millis(millis)),
            WireMoment::Revision(it) => {
                Moment::Place((it.revision, it.position.unwrap_or(u32::MAX)))
            }
        })
}

impl Control {
    /// Events as the request wants them.
    pub(super) async fn tell(&self, request: v1::EventsRequest) -> Result<Told, Status> {
        let pairs = request.filters.into_iter().map(|it| (it.key, it.value));
        let filter = EventFilter::read(pairs).map_err(Status::invalid_argument)?;
        // All that was acknowledged before is known here from now on.
        let state = self.read().await?;
        let now = (state.applied(), u32::MAX);
        let (since, until) = (moment(request.since), moment(request.until));
        let (place, not_before) = match since {
            None if until.is_some() => ((0, 0), None),
            None => (now, None),
            Some(Moment::Place((revision, _))) if revision > state.applied() => {
                return Err(Status::out_of_range(format!(
                    "revision {revision} has not happened: this cluster is at {}; was it restored from a backup?",
                    state.applied()
                )));
            }
            Some(Moment::Place(place)) => (place, None),
            Some(Moment::Wall(at)) => ((0, 0), Some((at, now))),
        };
        let gone = missed(&state, since, place);
        let reader = Reader {
            place,
            said: place,
            not_before,
            until,
            filter,
        };
        let (sender, receiver) = mpsc::channel(BEHIND);
        let control = self.clone();
        tokio::spawn(async move {
            let ending = tokio::select! {
                ending = control.follow(reader, gone, &sender) => ending,
                () = sender.closed() => Ending::Done,
            };
            if let Ending::With(status) = ending {
                // A reader that has gone needs no reason.
                drop(sender.send(Err(status)).await);
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }

    async fn follow(
        &self,
        mut reader: Reader,
        gone: Option<u64>,
        sender: &mpsc::Sender<Result<v1::EventsAnswer, Status>>,
    ) -> Ending {
        let mut changes = self.ring.watch();
        let mut gone = gone;
        loop {
            let state = changes.borrow_and_update().state.clone();
            let mut answers: Vec<Answer> = gone.take().map(Answer::Gone).into_iter().collect();
            let more = reader.look(&state, &mut answers);
            for answer in answers {
                let answer = v1::EventsAnswer {
                    answer: Some(answer),
                };
                if sender.send(Ok(answer)).await.is_err() {
                    return Ending::Done;
                }
            }
            if more {
                // The ring may have lost, while the reader was waited for, what comes next.
                gone = missed(
                    &changes.borrow().state,
                    Some(Moment::Place(reader.place)),
                    reader.place,
                );
                continue;
            }
            let Some(pause) = reader.pause(&state) else {
                return Ending::Done;
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return Ending::With(Status::unavailable("this node is a manager no more"));
                },
                () = tokio::time::sleep(pause) => {
                    if pause == DOUBT && let Err(error) = self.ring.read().await {
                        return Ending::With(refuse::not_read(&error));
                    }
                }
            }
            gone = missed(
                &changes.borrow().state,
                Some(Moment::Place(reader.place)),
                reader.place,
            );
        }
    }
}

/// The revision of the last event that is gone, if some after `place` are.
fn missed(state: &State, since: Option<Moment>, place: EventPlace) -> Option<u64> {
    let gone = state.events_gone();
    let missed = match since {
        None => false,
        Some(Moment::Place(_)) => place.0 < gone,
        Some(Moment::Wall(at)) => {
            let oldest = state.events_after((0, 0)).next();
            gone > 0 && oldest.is_none_or(|oldest| oldest.at > at)
        }
    };
    missed.then_some(gone)
}

impl Reader {
    /// Looks at the next events; `true` where there are more than fit into an answer.
    fn look(&mut self, state: &State, answers: &mut Vec<Answer>) -> bool {
        let next: Vec<Arc<Event>> = state
            .events_after(self.place)
            .take(BATCH)
            .cloned()
            .collect();
        let more = next.len() == BATCH;
        if let Some(last) = next.last() {
            self.place = (last.revision, last.position);
        }
        let wanted = next.iter().filter(|event| self.wants(event));
        let events: Vec<v1::Event> = wanted.map(|event| v1::Event::from(&**event)).collect();
        // A reader whom nothing concerns is told now and then how far it is, or the ring would pass it.
        let far = self.place.0.saturating_sub(self.said.0) > BATCH as u64;
        if !events.is_empty() || far || more {
            self.said = self.place;
            let (revision, position) = self.place;
            let looked = v1::moment::Revision {
                revision,
                position: Some(position),
            };
            answers.push(Answer::Batch(v1::EventBatch {
                events,
                looked: Some(looked),
            }));
        }
        more
    }

    fn wants(&self, event: &Event) -> bool {
        let place = (event.revision, event.position);
        let late = match self.until {
            None => false,
            Some(Moment::Place(until)) => place > until,
            Some(Moment::Wall(until)) => event.at > until,
        };
        let early = self
            .not_before
            .is_some_and(|(at, known)| place <= known && event.at < at);
        !late && !early && self.filter.passes(event)
    }

    /// How long nothing is to be done if nothing happens; `None` at the end.
    fn pause(&self, state: &State) -> Option<Duration> {
        match self.until {
            None => Some(DOUBT),
            Some(Moment::Place((revision, _))) => (state.applied() < revision).then_some(DOUBT),
            Some(Moment::Wall(until)) => {
                let left = until
                    .unix_millis()
                    .saturating_sub(wall_time().unix_millis());
                (left > 0).then(|| Duration::from_millis(left).min(DOUBT))
            }
        }
    }
}
