//! A backup: the cluster's state as one file with a head before it and a checksum behind it.
//!
//! It holds what a manager's disk holds, keys and tokens too, and is not encrypted: whoever has it can be
//! any node of the cluster.

use std::io::{self, Read, Write};

use prost::Message;
use sha2::{Digest, Sha256};
use skep_proto::cluster::Cluster;

use crate::raft::{Published, Replicated};
use crate::state::State;

const MAGIC: &[u8; 8] = b"skepback";
const VERSION: u32 = 1;
/// No head comes near this; a length beyond it is damage.
const HEAD_MOST: u32 = 64 << 10;
const CHECKSUM: usize = 32;

/// Why a file cannot be restored from.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Another kind of file.
    #[error("this is no backup of skep: make one on a manager with: skep swarm backup")]
    Foreign,
    /// Written by a newer skep.
    #[error(
        "the backup has format {0}, this skep knows {VERSION}: restore it with the skep that made it, or a newer one"
    )]
    Version(u32),
    /// Cut short or altered.
    #[error("the backup is damaged ({0}): nothing was restored; take another copy of it")]
    Damaged(String),
    /// It cannot be read.
    #[error("cannot read the backup: {0}")]
    Io(io::Error),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".into()),
            io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    /// Log index of the last entry in the state.
    #[prost(uint64, tag = "1")]
    applied: u64,
    /// Version of skep that wrote it.
    #[prost(string, tag = "2")]
    program: String,
}

/// A cluster's state at one moment.
#[derive(Clone, Debug)]
pub struct Backup {
    pub(super) published: Published<State>,
}

/// What is in a backup, for its reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    /// Log index of the last change in it.
    pub revision: u64,
    /// Nodes.
    pub nodes: usize,
    /// Services.
    pub services: usize,
    /// Tasks, also ended ones.
    pub tasks: usize,
    /// Networks.
    pub networks: usize,
}

impl Backup {
    /// A backup of what was applied.
    pub fn new(published: Published<State>) -> Self {
        Self { published }
    }

    /// The cluster it is of; `None` for one that was never founded.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.published.state.cluster().map(AsRef::as_ref)
    }

    /// What is in it.
    pub fn content(&self) -> Content {
        let state = &self.published.state;
        Content {
            revision: self.published.applied,
            nodes: state.nodes().count(),
            services: state.services().count(),
            tasks: state.tasks().count(),
            networks: state.networks().count(),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Summed::new(out);
        let head = Head {
            applied: self.published.applied,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let head = head.encode_to_vec();
        let len = u32::try_from(head.len()).map_err(io::Error::other)?;
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&len.to_le_bytes())?;
        out.write_all(&head)?;
        self.published.state.encode_snapshot(&mut out)?;
        let (out, sum) = out.finish();
        out.write_all(&sum)?;
        out.flush()
    }

    /// Reads all of a backup and checks it.
    ///
    /// # Errors
    /// When it is none, is damaged, goes on behind its end, or cannot be read.
    pub fn read(input: &mut dyn Read) -> Result<Self, BackupError> {
        let mut input = Summed::new(input);
        let mut magic = [0; 8];
        if input.read_exact(&mut magic).is_err() || &magic != MAGIC {
            return Err(BackupError::Foreign);
        }
        let version = number(&mut input)?;
        if version != VERSION {
            return Err(BackupError::Version(version));
        }
        let len = number(&mut input)?;
        if len > HEAD_MOST {
            return Err(BackupError::Damaged(format!("a head of {len} bytes")));
        }
        let mut head = vec![0; usize::try_from(len).unwrap_or_default()];
        input.read_exact(&mut head)?;
        let head = Head::decode(head.as_slice())
            .map_err(|error| BackupError::Damaged(format!("its head: {error}")))?;
        let state = State::decode_snapshot(&mut input)?;
        let (input, sum) = input.finish();
        let mut kept = [0; CHECKSUM];
        input.read_exact(&mut kept)?;
        if kept != sum {
            return Err(BackupError::Damaged("its checksum differs".into()));
        }
        if input.read(&mut [0])? != 0 {
            return Err(BackupError::Damaged("it goes on behind its end".into()));
        }
        let applied = head.applied;
        Ok(Self {
            published: Published { state, applied },
        })
    }
}

fn number(input: &mut dyn Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Sums up what goes through.
struct Summed<T> {
    through: T,
    sum: Sha256,
}

impl<T> Summed<T> {
    fn new(through: T) -> Self {
        let sum = Sha256::new();
        Self { through, sum }
    }

    fn finish(self) -> (T, [u8; CHECKSUM]) {
        (self.through, self.sum.finalize().into())
    }
}

impl Write for Summed<&mut dyn Write> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.through.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.through.flush()
    }
}

impl Read for Summed<&mut dyn Read> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.through.read(bytes)?;
        self.sum.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}
