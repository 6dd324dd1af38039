//! One pass over a stream: decompress, hash, extract.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use sha2::{Digest as _, Sha256};

use super::extract::{Extractor, Fault};
use super::reader::TarReader;
use super::{Kind, Limits, Unpacked};

/// The largest window that a zstd stream may ask for, as a power of two: 128 MiB, as `zstd --long`.
const ZSTD_WINDOW: u32 = 27;

/// Why a stream was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("it is empty")]
    Empty,
    #[error("it is not a tar archive, plain or compressed with gzip or zstd: {0}")]
    NotTar(io::Error),
    #[error("it is broken: {0}")]
    Broken(io::Error),
    #[error("cannot unpack {path}: {fault}")]
    Entry { path: String, fault: Fault },
    #[error("cannot finish its directories: {0}")]
    Finish(Fault),
    #[error("it has more than {0} entries")]
    Entries(u64),
}

impl StreamError {
    /// Whether the file system has no more room: no fault of the stream.
    pub(super) fn is_full(&self) -> bool {
        let error = match self {
            Self::Entry { fault, .. } | Self::Finish(fault) => match fault {
                Fault::System(errno) => io::Error::from(*errno).kind(),
                Fault::Stream(error) => error.kind(),
                Fault::Path(_) | Fault::Kind(_) | Fault::Bytes(_) => return false,
            },
            _ => return false,
        };
        crate::exec::image::error::no_room(error)
    }
}

/// Hashes what passes, and ends it at a bound.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
    bytes: u64,
    limit: u64,
}

impl<R> fmt::Debug for Hashed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashed")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if self.bytes > self.limit {
            let limit = self.limit;
            return Err(io::Error::other(format!(
                "it holds more than {limit} bytes"
            )));
        }
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Unpacks `input` below `root`.
pub(super) fn unpack(
    input: impl Read + 'static,
    root: OwnedFd,
    kind: Kind,
    limits: Limits,
) -> Result<Unpacked, StreamError> {
    let hashed = Hashed {
        inner: decompressed(input)?,
        hasher: Sha256::new(),
        bytes: 0,
        limit: limits.bytes,
    };
    let mut stream = TarReader::new(hashed);
    let mut extractor = Extractor::new(root, kind, limits);
    let mut entries = 0;
    loop {
        let next = stream.next_entry().map_err(|error| match entries {
            0 => StreamError::NotTar(error),
            _ => StreamError::Broken(error),
        })?;
        let Some(mut entry) = next else { break };
        entries += 1;
        if entries > limits.entries {
            return Err(StreamError::Entries(limits.entries));
        }
        extractor
            .make(&mut entry, &mut stream)
            .map_err(|fault| StreamError::Entry {
                path: String::from_utf8_lossy(&entry.path).into_owned(),
                fault,
            })?;
    }
    let marks = extractor.finish().map_err(StreamError::Finish)?;
    let mut hashed = stream.into_inner();
    // Zeros behind the end count for the digest.
    io::copy(&mut hashed, &mut io::sink()).map_err(StreamError::Broken)?;
    Ok(Unpacked {
        diff_id: hashed.hasher.finalize().into(),
        bytes: hashed.bytes,
        entries,
        opaque: marks.opaque,
        implied: marks.implied,
    })
}

/// What a stream is compressed with, by its first bytes.
fn decompressed(mut input: impl Read + 'static) -> Result<Box<dyn Read>, StreamError> {
    let mut head = Vec::new();
    input
        .by_ref()
        .take(4)
        .read_to_end(&mut head)
        .map_err(StreamError::Broken)?;
    if head.is_empty() {
        return Err(StreamError::Empty);
    }
    let gzip = head.starts_with(&[0x1f, 0x8b]);
    let zstd = head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let whole = io::BufReader::with_capacity(256 << 10, io::Cursor::new(head).chain(input));
    if gzip {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(whole)));
    }
    if zstd {
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(whole).map_err(StreamError::Broken)?;
        decoder
            .window_log_max(ZSTD_WINDOW)
            .map_err(StreamError::Broken)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(whole))
}
