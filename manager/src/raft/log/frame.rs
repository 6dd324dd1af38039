//! The shape of the log on disk, as pure functions over bytes.
//!
//! A segment is a file of fixed length holding one or more *runs*. A run begins at a multiple of 4 KiB
//! with a header (written twice in that block, so that no single bad sector hides a run) which draws
//! a random incarnation and a salt, and names the run before it and where that one ended. Behind it stand
//! frames, each one batch that was written and synced as one, at multiples of 512 bytes: a sector that
//! holds an acknowledged record is never written again. A frame names its run's incarnation and counts
//! up, so that what an earlier life of a recycled segment left behind is never taken for its own.

use crate::raft::seal::{SaltBytes, SealError, Sealer};

/// Where a run may begin: a page, which is what file systems write.
pub(crate) const BLOCK: u64 = 4096;
/// Where a frame may begin: what disks write as one.
pub(crate) const SECTOR: u64 = 512;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEAD: usize = 32;
/// Most bytes that sealing adds to a payload.
pub(crate) const SEAL_OVERHEAD: usize = 16;

const BLOCK_LEN: usize = 4096;
const SECTOR_LEN: usize = 512;
const RUN_MAGIC: &[u8; 8] = b"skepwal\0";
const RUN_VERSION: u32 = 1;
const RUN_LEN: usize = 84;
const RUN_COPY: usize = 2048;
const FRAME_MAGIC: &[u8; 4] = b"skfr";
const FRAME_VERSION: u8 = 1;

/// Why a run's header could not be used although it is intact.
#[derive(Debug, thiserror::Error)]
#[error("log format {0} is not known: written by a newer skep, upgrade this manager")]
pub(crate) struct UnknownVersion(u32);

/// The header of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Position among all runs of this log, without holes.
    pub order: u64,
    /// Random, never seen again.
    pub incarnation: u64,
    /// Incarnation of the run before; 0 before the first.
    pub before: u64,
    /// Where in its file the run before ended.
    pub before_end: u64,
    /// Salt of the key its frames are sealed with.
    pub salt: SaltBytes,
}

/// Rounds `at` up to a multiple of `unit`.
pub(crate) fn align(at: u64, unit: u64) -> u64 {
    at.next_multiple_of(unit)
}

/// The bytes a payload of `len` takes on disk, sealed and padded.
pub(crate) fn frame_len(len: usize) -> u64 {
    align((FRAME_HEAD + SEAL_OVERHEAD + len) as u64, SECTOR)
}

impl Run {
    /// The header block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut one = Vec::with_capacity(RUN_LEN);
        one.extend_from_slice(RUN_MAGIC);
        one.extend_from_slice(&RUN_VERSION.to_le_bytes());
        one.extend_from_slice(&[0; 4]);
        for number in [self.order, self.incarnation, self.before, self.before_end] {
            one.extend_from_slice(&number.to_le_bytes());
        }
        one.extend_from_slice(&self.salt);
        one.extend_from_slice(&crc32c::crc32c(&one).to_le_bytes());
        let mut block = one.clone();
        block.resize(RUN_COPY, 0);
        block.extend_from_slice(&one);
        block.resize(BLOCK_LEN, 0);
        block
    }

    /// The header in the block at `at`, if an intact one stands there.
    pub(crate) fn decode(bytes: &[u8], at: u64) -> Result<Option<Self>, UnknownVersion> {
        let Ok(at) = usize::try_from(at) else {
            return Ok(None);
        };
        let copies = [at, at + RUN_COPY].map(|at| Self::decode_copy(bytes, at));
        let mut best: Option<Self> = None;
        for copy in copies {
            if let Some(run) = copy?
                && best.as_ref().is_none_or(|b| run.order > b.order)
            {
                best = Some(run);
            }
        }
        Ok(best)
    }

    fn decode_copy(bytes: &[u8], at: usize) -> Result<Option<Self>, UnknownVersion> {
        let Some(copy) = bytes.get(at..at + RUN_LEN) else {
            return Ok(None);
        };
        let Some((body, crc)) = copy.split_last_chunk::<4>() else {
            return Ok(None);
        };
        if !body.starts_with(RUN_MAGIC) || crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Ok(None);
        }
        let version = u32_at(body, 8).unwrap_or(0);
        if version != RUN_VERSION {
            return Err(UnknownVersion(version));
        }
        let run = || {
            Some(Self {
                order: u64_at(body, 16)?,
                incarnation: u64_at(body, 24)?,
                before: u64_at(body, 32)?,
                before_end: u64_at(body, 40)?,
                salt: body.get(48..80)?.try_into().ok()?,
            })
        };
        Ok(run())
    }
}

/// An intact frame of one run, its payload still sealed.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// Its number in the run, from 0.
    pub count: u64,
    /// Where the next frame begins.
    pub end: u64,
    cipher: u8,
    bound: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame of run `incarnation` at `at`, if an intact one stands there.
    pub(crate) fn decode(bytes: &'a [u8], at: u64, incarnation: u64) -> Option<Self> {
        let start = usize::try_from(at).ok()?;
        let head = bytes.get(start..start.checked_add(FRAME_HEAD)?)?;
        if !head.starts_with(FRAME_MAGIC) || u64_at(head, 8)? != incarnation {
            return None;
        }
        if *head.get(4)? != FRAME_VERSION {
            return None;
        }
        let len = usize::try_from(u32_at(head, 24)?).ok()?;
        let from = start + FRAME_HEAD;
        let sealed = bytes.get(from..from.checked_add(len)?)?;
        let bound = head.get(..28)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(bound), sealed);
        if crc != u32_at(head, 28)? {
            return None;
        }
        let end = align(at + (FRAME_HEAD + len) as u64, SECTOR);
        Some(Self {
            count: u64_at(head, 16)?,
            end,
            cipher: *head.get(5)?,
            bound,
            sealed,
        })
    }

    /// The payload in clear.
    pub(crate) fn open(&self, sealer: &Sealer) -> Result<Vec<u8>, SealError> {
        let mut payload = self.sealed.to_vec();
        sealer.open(self.cipher, self.count, self.bound, &mut payload)?;
        Ok(payload)
    }
}

/// Seals `payload` as frame number `count` of run `incarnation`, padded to whole sectors.
pub(crate) fn encode_frame(
    sealer: &Sealer,
    incarnation: u64,
    count: u64,
    mut payload: Vec<u8>,
) -> Result<Vec<u8>, SealError> {
    let len = u32::try_from(payload.len() + sealer.overhead()).map_err(|_| SealError::Refused)?;
    let mut head = Vec::with_capacity(FRAME_HEAD);
    head.extend_from_slice(FRAME_MAGIC);
    head.extend_from_slice(&[FRAME_VERSION, sealer.cipher(), 0, 0]);
    head.extend_from_slice(&incarnation.to_le_bytes());
    head.extend_from_slice(&count.to_le_bytes());
    head.extend_from_slice(&len.to_le_bytes());
    sealer.seal(count, &head, &mut payload)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head), &payload);
    let mut frame = head;
    frame.reserve_exact(payload.len() + SECTOR_LEN);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(&payload);
    frame.resize(frame.len().next_multiple_of(SECTOR_LEN), 0);
    Ok(frame)
}

/// Where behind `from` an intact frame of this run with a number of at least `count` stands.
pub(crate) fn find_behind(bytes: &[u8], from: u64, incarnation: u64, count: u64) -> Option<u64> {
    let end = bytes.len() as u64;
    (align(from, SECTOR)..end)
        .step_by(SECTOR_LEN)
        .find(|at| Frame::decode(bytes, *at, incarnation).is_some_and(|f| f.count >= count))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
