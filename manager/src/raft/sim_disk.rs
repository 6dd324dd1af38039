//! A disk for tests: what was not synced may be lost, in whole, in part or out of order; writes tear at any
//! sector or byte; it runs full, fails to sync, and dies at a chosen operation.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct Contents {
    inodes: Vec<Inode>,
    durable_names: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    capacity: Option<usize>,
    fail_sync: bool,
    /// Writes and syncs that still succeed.
    fuse: Option<u64>,
    dead: bool,
    taken: Arc<AtomicBool>,
    syncs: u64,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Contents>>);

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimDisk {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    pub(crate) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Room for this many bytes in all files together.
    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.contents().capacity = bytes;
    }

    pub(crate) fn used(&self) -> usize {
        self.contents().used()
    }

    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.contents().fail_sync = fail;
    }

    /// Dies after `operations` more writes and syncs.
    pub(crate) fn die_after(&self, operations: u64) {
        self.contents().fuse = Some(operations);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.contents().syncs
    }

    /// The disk as it is after a power cut; this one is dead from then on.
    pub(crate) fn crash(&self, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut old = self.contents();
        old.dead = true;
        let names = if rng.random_bool(0.5) {
            &old.names
        } else {
            &old.durable_names
        };
        let mut new = Contents {
            names: names.clone(),
            ..Contents::default()
        };
        new.durable_names = new.names.clone();
        for inode in &old.inodes {
            let content = inode.after_crash(&mut rng);
            new.inodes.push(Inode {
                durable: content.clone(),
                now: content,
                unsynced: Vec::new(),
            });
        }
        Self(Arc::new(Mutex::new(new)))
    }

    /// The disk as a killed process leaves it: nothing is lost, nothing more is synced.
    pub(crate) fn kill(&self) -> Self {
        let mut old = self.contents();
        old.dead = true;
        let new = Contents {
            inodes: old.inodes.clone(),
            durable_names: old.durable_names.clone(),
            names: old.names.clone(),
            capacity: old.capacity,
            ..Contents::default()
        };
        Self(Arc::new(Mutex::new(new)))
    }

    /// A copy all of which is durable, with `name`'s bytes changed by `edit`.
    pub(crate) fn edited(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        let old = self.contents();
        let mut new = Contents {
            names: old.names.clone(),
            ..Contents::default()
        };
        new.durable_names = new.names.clone();
        new.inodes = old.inodes.clone();
        for inode in &mut new.inodes {
            inode.unsynced.clear();
        }
        let at = new.names[name];
        edit(&mut new.inodes[at].now);
        for inode in &mut new.inodes {
            inode.durable = inode.now.clone();
        }
        Self(Arc::new(Mutex::new(new)))
    }

    /// What a file holds now.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let contents = self.contents();
        contents.inodes[contents.names[name]].now.clone()
    }
}

impl Inode {
    fn after_crash(&self, rng: &mut StdRng) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (at, bytes) in &self.unsynced {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            let mut from = *at;
            while from < end {
                let to = end.min((from / SECTOR + 1) * SECTOR);
                // Most sectors arrive, some do not, a few only in part.
                let arrived = match rng.random_range(0..10) {
                    0..=5 => to - from,
                    6..=8 => 0,
                    _ => rng.random_range(0..=to - from),
                };
                content[from..from + arrived].copy_from_slice(&bytes[from - at..][..arrived]);
                from = to;
            }
        }
        content
    }
}

impl Contents {
    fn used(&self) -> usize {
        self.names
            .values()
            .map(|inode| self.inodes[*inode].now.len())
            .sum()
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead {
            Err(io::Error::other("the disk is gone"))
        } else {
            Ok(())
        }
    }

    fn burn(&mut self) -> io::Result<()> {
        self.alive()?;
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Err(io::Error::other("the disk died"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn check_room(&self, inode: usize, len: usize) -> io::Result<()> {
        let grown = self.used() - self.inodes[inode].now.len() + len;
        if len > self.inodes[inode].now.len() && self.capacity.is_some_and(|most| grown > most) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let contents = self.contents();
        contents.alive()?;
        Ok(contents.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut contents = self.contents();
        contents.alive()?;
        contents.inodes.push(Inode::default());
        let inode = contents.inodes.len() - 1;
        contents.names.insert(name.to_owned(), inode);
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let contents = self.contents();
        contents.alive()?;
        let inode = *contents.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut contents = self.contents();
        contents.alive()?;
        let inode = contents.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        contents.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut contents = self.contents();
        contents.alive()?;
        contents.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut contents = self.contents();
        contents.burn()?;
        contents.durable_names = contents.names.clone();
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        struct Taken(Arc<AtomicBool>);
        impl Drop for Taken {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        let taken = self.contents().taken.clone();
        if taken.swap(true, Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Taken(taken)))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let contents = self.disk.contents();
        contents.alive()?;
        Ok(contents.inodes[self.inode].now.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let contents = self.disk.contents();
        contents.alive()?;
        let at = usize::try_from(offset).unwrap();
        let from = contents.inodes[self.inode].now.get(at..at + bytes.len());
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.disk.contents();
        contents.burn()?;
        let at = usize::try_from(offset).unwrap();
        let end = at + bytes.len();
        contents.check_room(self.inode, end)?;
        let inode = &mut contents.inodes[self.inode];
        if inode.now.len() < end {
            inode.now.resize(end, 0);
        }
        inode.now[at..end].copy_from_slice(bytes);
        inode.unsynced.push((at, bytes.to_vec()));
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let contents = self.disk.contents();
        contents.alive()?;
        contents.check_room(self.inode, usize::try_from(len).unwrap())
    }

    fn sync(&self) -> io::Result<()> {
        let mut contents = self.disk.contents();
        contents.burn()?;
        if contents.fail_sync {
            return Err(io::Error::other("sync failed"));
        }
        contents.syncs += 1;
        let inode = &mut contents.inodes[self.inode];
        inode.unsynced.clear();
        inode.durable = inode.now.clone();
        Ok(())
    }
}
