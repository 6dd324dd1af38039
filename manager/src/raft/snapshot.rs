//! Snapshots on disk: one file with version, checksums and the same encryption as the log, written beside,
//! synced and renamed. An older one never replaces a newer one. What the state looks like inside is not
//! known here.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::codec::{LogIdBytes, MembershipBytes};
use super::disk::{Disk, DiskFile};
use super::seal::{Key, SaltBytes, Sealer, random};
use super::types::{LogId, SnapshotMeta, StoredMembership};

/// The snapshot in use.
const CURRENT: &str = "snapshot";
/// How the names of unfinished ones end.
const BESIDE: &str = ".snap-tmp";
const MAGIC: &[u8; 8] = b"skepsnap";
const VERSION: u32 = 1;
const HEAD: usize = 48;
const CHUNK_HEAD: usize = 12;
/// Bytes of state in a chunk, on disk and on the wire.
const CHUNK: usize = 256 << 10;
const LAST: u8 = 1;
const PURPOSE: &[u8] = b"skep raft snapshot";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MetaBytes {
    #[prost(message, optional, tag = "1")]
    last: Option<LogIdBytes>,
    #[prost(message, optional, tag = "2")]
    membership: Option<MembershipBytes>,
}

impl From<&SnapshotMeta> for MetaBytes {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            last: meta.last_log_id.map(LogIdBytes::from),
            membership: Some(MembershipBytes::from(&meta.last_membership)),
        }
    }
}

/// The meaning of `bytes`.
pub(crate) fn meta_of(bytes: MetaBytes) -> io::Result<SnapshotMeta> {
    let membership = bytes.membership.unwrap_or_default();
    Ok(SnapshotMeta {
        last_log_id: bytes.last.map(LogId::from),
        last_membership: StoredMembership::try_from(membership).map_err(invalid)?,
    })
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot: {error}"))
}

/// Where snapshots are kept.
pub(crate) struct SnapshotStore {
    disk: Arc<dyn Disk>,
    key: Option<Key>,
    state: Mutex<StoreState>,
}

struct StoreState {
    current: Option<LogId>,
    next: u64,
}

/// A finished snapshot. One that never became the current one is removed when dropped.
pub(crate) struct SnapshotFile {
    store: Arc<SnapshotStore>,
    file: Arc<dyn DiskFile>,
    beside: Option<String>,
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile")
            .field("beside", &self.beside)
            .finish()
    }
}

impl SnapshotStore {
    /// Opens the store and removes what was left unfinished.
    pub(crate) fn open(disk: Arc<dyn Disk>, key: Option<Key>) -> io::Result<Arc<Self>> {
        for name in disk.names()?.iter().filter(|name| name.ends_with(BESIDE)) {
            disk.remove(name)?;
        }
        let state = Mutex::new(StoreState {
            current: None,
            next: 0,
        });
        Ok(Arc::new(Self { disk, key, state }))
    }

    /// The current snapshot.
    pub(crate) fn current(self: &Arc<Self>) -> io::Result<Option<(SnapshotMeta, SnapshotFile)>> {
        if !self.disk.names()?.iter().any(|name| name == CURRENT) {
            return Ok(None);
        }
        let file = Arc::from(self.disk.open(CURRENT)?);
        let snapshot = SnapshotFile {
            store: self.clone(),
            file,
            beside: None,
        };
        let (meta, _) = snapshot.read()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.current = state.current.max(meta.last_log_id);
        drop(state);
        Ok(Some((meta, snapshot)))
    }

    /// Begins a new one.
    pub(crate) fn begin(self: &Arc<Self>, meta: &SnapshotMeta) -> io::Result<SnapshotWriter> {
        let number = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.next += 1;
            state.next
        };
        let name = format!("{number}{BESIDE}");
        let file: Arc<dyn DiskFile> = Arc::from(self.disk.create(&name)?);
        let file = SnapshotFile {
            store: self.clone(),
            file,
            beside: Some(name),
        };
        let mut salt: SaltBytes = [0; 32];
        random(&mut salt)?;
        let sealer = Sealer::new(self.key.as_ref(), &salt, PURPOSE).map_err(io::Error::other)?;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&salt);
        head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
        file.file.write_at(0, &head)?;
        let buffer = MetaBytes::from(meta).encode_to_vec();
        let mut writer = SnapshotWriter {
            file,
            sealer,
            at: HEAD as u64,
            count: 0,
            buffer,
        };
        writer.chunk(0)?;
        Ok(writer)
    }

    /// Makes `snapshot` the current one, unless a newer one is.
    pub(crate) fn adopt(&self, meta: &SnapshotMeta, snapshot: &mut SnapshotFile) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = snapshot
            .beside
            .take_if(|_| state.current <= meta.last_log_id)
        else {
            return Ok(());
        };
        self.disk.rename(&name, CURRENT)?;
        self.disk.sync_names()?;
        state.current = meta.last_log_id;
        Ok(())
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if let Some(name) = self.beside.take() {
            // It would be removed at the next start too.
            let _ = self.store.disk.remove(&name);
        }
    }
}

impl SnapshotFile {
    /// Whether it lies in `store`; elsewhere it is under another key.
    pub(crate) fn belongs_to(&self, store: &Arc<SnapshotStore>) -> bool {
        Arc::ptr_eq(&self.store, store)
    }

    /// What it covers, and a reader of the state in it.
    pub(crate) fn read(&self) -> io::Result<(SnapshotMeta, SnapshotReader)> {
        let mut head = [0; HEAD];
        self.file.read_at(0, &mut head)?;
        let Some((body, crc)) = head.split_last_chunk::<4>() else {
            return Err(invalid("head too short"));
        };
        if !body.starts_with(MAGIC) || crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(invalid("its head is damaged"));
        }
        let version = body
            .get(8..12)
            .and_then(|v| v.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        if version != VERSION {
            return Err(invalid(format!(
                "format {version} is not known: upgrade this manager"
            )));
        }
        let salt = body
            .get(12..44)
            .and_then(|s| s.try_into().ok())
            .unwrap_or([0; 32]);
        let sealer = Sealer::new(self.store.key.as_ref(), &salt, PURPOSE).map_err(invalid)?;
        let file = self.file.clone();
        let at = HEAD as u64;
        let mut reader = SnapshotReader {
            file,
            sealer,
            at,
            count: 0,
            ended: false,
            rest: Bytes::new(),
        };
        let meta = reader.chunk()?.ok_or_else(|| invalid("it is empty"))?;
        let meta = meta_of(MetaBytes::decode(meta.as_slice()).map_err(invalid)?)?;
        Ok((meta, reader))
    }
}

/// Writes a snapshot; nobody sees it before it is finished and adopted.
pub(crate) struct SnapshotWriter {
    file: SnapshotFile,
    sealer: Sealer,
    at: u64,
    count: u64,
    buffer: Vec<u8>,
}

impl SnapshotWriter {
    fn chunk(&mut self, flags: u8) -> io::Result<()> {
        let mut payload = std::mem::take(&mut self.buffer);
        let len = u32::try_from(payload.len() + self.sealer.overhead()).map_err(invalid)?;
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[flags, self.sealer.cipher(), 0, 0]);
        self.sealer
            .seal(self.count, &bytes, &mut payload)
            .map_err(io::Error::other)?;
        let crc = chunk_crc(&bytes, self.count, &payload);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.append(&mut payload);
        self.file.file.write_at(self.at, &bytes)?;
        self.at += bytes.len() as u64;
        self.count += 1;
        Ok(())
    }

    /// Makes it durable.
    pub(crate) fn finish(mut self) -> io::Result<SnapshotFile> {
        self.chunk(LAST)?;
        self.file.file.sync()?;
        Ok(self.file)
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.buffer.len() == CHUNK {
            self.chunk(0)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the state in a snapshot, as a stream or chunk by chunk.
pub(crate) struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    sealer: Sealer,
    at: u64,
    count: u64,
    ended: bool,
    rest: Bytes,
}

impl SnapshotReader {
    /// The next chunk in clear; `None` behind the last one.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let mut head = [0; CHUNK_HEAD];
        self.file.read_at(self.at, &mut head)?;
        let [l0, l1, l2, l3, flags, cipher, _, _, c0, c1, c2, c3] = head;
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).map_err(invalid)?;
        if len > CHUNK + 1024 && self.count > 0 {
            return Err(invalid(format!("chunk {} is damaged", self.count)));
        }
        let mut payload = vec![0; len];
        self.file
            .read_at(self.at + CHUNK_HEAD as u64, &mut payload)?;
        let bound = head.get(..8).unwrap_or_default();
        if chunk_crc(bound, self.count, &payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(invalid(format!("chunk {} is damaged", self.count)));
        }
        self.sealer
            .open(cipher, self.count, bound, &mut payload)
            .map_err(invalid)?;
        self.at += (CHUNK_HEAD + len) as u64;
        self.count += 1;
        self.ended = flags & LAST != 0;
        Ok(Some(payload))
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunk()? {
                Some(chunk) => self.rest = chunk.into(),
                None => return Ok(0),
            }
        }
        let taken = self.rest.split_to(out.len().min(self.rest.len()));
        if let Some(out) = out.get_mut(..taken.len()) {
            out.copy_from_slice(&taken);
        }
        Ok(taken.len())
    }
}

fn chunk_crc(bound: &[u8], count: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(bound), &count.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}
