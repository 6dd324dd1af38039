//! Reads a log back. It changes nothing on disk, so that a refused start loses nothing.
//!
//! Only the end of the last run may be broken: what stood there was never acknowledged. Anywhere else, or
//! with a good frame of the same run behind it, a broken frame is damage to something acknowledged, and
//! the start is refused rather than going back in time.

use std::collections::VecDeque;

use bytes::Bytes;

use super::LogError;
use super::frame::{BLOCK, Frame, Run, align, find_behind};
use super::pool::{SUFFIX, Segment};
use super::record::{Record, Replay};
use crate::raft::disk::Disk;
use crate::raft::seal::{Key, SealError, Sealer};

/// What keys of log runs are derived for.
pub(crate) const PURPOSE: &[u8] = b"skep raft log run";

/// A segment that holds part of the log.
pub(crate) struct Live {
    pub segment: Segment,
    /// The highest index of an entry that was ever written to it.
    pub max_index: Option<u64>,
}

/// Where the last run ended, in the last live segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub order: u64,
    pub incarnation: u64,
    pub at: u64,
}

/// The log as it was found.
pub(crate) struct Recovered {
    pub replay: Replay,
    pub live: VecDeque<Live>,
    pub free: Vec<Segment>,
    pub end: Option<End>,
    /// Names no segment yet.
    pub next_name: u64,
}

/// Whether there is any segment on `disk`.
pub(crate) fn is_fresh(disk: &dyn Disk) -> std::io::Result<bool> {
    Ok(!disk.names()?.iter().any(|name| name.ends_with(SUFFIX)))
}

/// Reads the log on `disk`.
pub(crate) fn recover(disk: &dyn Disk, key: Option<&Key>) -> Result<Recovered, LogError> {
    let mut found = Recovered {
        replay: Replay::default(),
        live: VecDeque::new(),
        free: Vec::new(),
        end: None,
        next_name: 1,
    };
    let mut begun = begun_segments(disk, &mut found)?;
    begun.sort_by_key(|(run, _)| run.order);
    let follows: Vec<Option<Run>> = begun
        .iter()
        .skip(1)
        .map(|(run, _)| Some(run.clone()))
        .collect();
    for ((run, segment), next) in begun.into_iter().zip(follows.into_iter().chain([None])) {
        if !found.end.is_none_or(|end| chained(&end, &run)) {
            // What comes before a missing run was purged; if not, `check_whole` says so below.
            found.replay = Replay::default();
            found
                .free
                .extend(found.live.drain(..).map(|live| live.segment));
        }
        let bytes = read_whole(&segment)?;
        let mut scan = Scan {
            bytes: &bytes,
            name: &segment.name,
            key,
            max_index: None,
        };
        found.end = Some(scan.segment(run, next.as_ref(), &mut found.replay)?);
        let max_index = scan.max_index;
        found.live.push_back(Live { segment, max_index });
    }
    found
        .replay
        .check_whole()
        .map_err(|source| LogError::Damaged {
            segment: found
                .live
                .front()
                .map_or_else(String::new, |live| live.segment.name.clone()),
            at: 0,
            source: source.into(),
        })?;
    Ok(found)
}

fn chained(end: &End, run: &Run) -> bool {
    run.order == end.order + 1 && run.before == end.incarnation
}

/// The segments with a run at their head; the others go to `found.free`.
fn begun_segments(disk: &dyn Disk, found: &mut Recovered) -> Result<Vec<(Run, Segment)>, LogError> {
    let mut begun = Vec::new();
    let mut names = disk
        .names()
        .map_err(LogError::io("list the log's directory"))?;
    names.retain(|name| name.ends_with(SUFFIX));
    names.sort();
    for name in names {
        let opened = LogError::io("read a log segment");
        let file = disk.open(&name).map_err(&opened)?;
        let len = file.len().map_err(&opened)?;
        let number = name
            .strip_suffix(SUFFIX)
            .and_then(|n| n.parse::<u64>().ok());
        found.next_name = found.next_name.max(number.unwrap_or(0).saturating_add(1));
        let mut head = vec![0; usize::try_from(len.min(BLOCK)).unwrap_or(0)];
        file.read_at(0, &mut head).map_err(&opened)?;
        let segment = Segment { name, len, file };
        match Run::decode(&head, 0)? {
            Some(run) => begun.push((run, segment)),
            None => found.free.push(segment),
        }
    }
    Ok(begun)
}

fn read_whole(segment: &Segment) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; usize::try_from(segment.len).unwrap_or(0)];
    segment
        .file
        .read_at(0, &mut bytes)
        .map_err(LogError::io("read a log segment"))?;
    Ok(bytes)
}

struct Scan<'a> {
    bytes: &'a [u8],
    name: &'a str,
    key: Option<&'a Key>,
    max_index: Option<u64>,
}

impl Scan<'_> {
    /// Follows every run of the segment; `next` is the run at the head of the segment behind it.
    fn segment(
        &mut self,
        first: Run,
        next: Option<&Run>,
        replay: &mut Replay,
    ) -> Result<End, LogError> {
        let (mut run, mut at) = (first, 0);
        loop {
            let end_of = |follower: &Run| {
                let end = End {
                    order: run.order,
                    incarnation: run.incarnation,
                    at: 0,
                };
                chained(&end, follower).then_some(follower.before_end)
            };
            let next_end = next.and_then(end_of);
            let (end, count) = self.run(&run, at + BLOCK, next_end, replay)?;
            let follower = self.follower(&run, end)?;
            let said = follower.as_ref().map(|(_, f)| f.before_end).or(next_end);
            let broken = match said {
                Some(said) => said != end,
                None => find_behind(self.bytes, end, run.incarnation, count).is_some(),
            };
            if broken {
                return Err(LogError::Corrupt {
                    segment: self.name.to_owned(),
                    at: end,
                });
            }
            match follower {
                Some((there, follower)) => (run, at) = (follower, there),
                None => {
                    return Ok(End {
                        order: run.order,
                        incarnation: run.incarnation,
                        at: end,
                    });
                }
            }
        }
    }

    /// Follows one run's frames from `at`; where the first one that is not intact would stand, and its number.
    fn run(
        &mut self,
        run: &Run,
        mut at: u64,
        stop: Option<u64>,
        replay: &mut Replay,
    ) -> Result<(u64, u64), LogError> {
        let seal = |source: SealError| LogError::Sealed {
            segment: self.name.to_owned(),
            source: source.into(),
        };
        let sealer = Sealer::new(self.key, &run.salt, PURPOSE).map_err(seal)?;
        let mut count = 0;
        while stop.is_none_or(|stop| at < stop)
            && let Some(frame) = Frame::decode(self.bytes, at, run.incarnation)
            && frame.count == count
        {
            let mut payload = Bytes::from(frame.open(&sealer).map_err(seal)?);
            while !payload.is_empty() {
                let followed = Record::decode(&mut payload).and_then(|record| {
                    if let Record::Entry(entry) = &record {
                        self.max_index = self.max_index.max(Some(entry.log_id.index));
                    }
                    replay.follow(record)
                });
                followed.map_err(|source| LogError::Damaged {
                    segment: self.name.to_owned(),
                    at,
                    source: source.into(),
                })?;
            }
            (at, count) = (frame.end, count + 1);
        }
        Ok((at, count))
    }

    /// The run that begins in this segment behind `end`, where `run` ended.
    fn follower(&self, run: &Run, end: u64) -> Result<Option<(u64, Run)>, LogError> {
        let mut at = align(end, BLOCK);
        while at < self.bytes.len() as u64 {
            if let Some(follower) = Run::decode(self.bytes, at)?
                && follower.order == run.order + 1
                && follower.before == run.incarnation
            {
                return Ok(Some((at, follower)));
            }
            at += BLOCK;
        }
        Ok(None)
    }
}
