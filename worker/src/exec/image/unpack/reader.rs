//! Reads a tar stream entry by entry: ustar, GNU long names and sparse files, PAX.
//!
//! PAX records are read by their lengths, since values such as file capabilities may hold any byte. All that
//! it keeps of an entry is bounded; a body is read by the caller, or skipped.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::pax::{self, Pax};

const BLOCK: usize = 512;
/// The most that the extension headers of one entry may take: paths and extended attributes.
const MAX_EXTENSION: u64 = 1 << 20;
/// The most pieces of one sparse file.
const MAX_PIECES: usize = 100_000;

/// A sparse file: where its bytes go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sparse {
    /// Length of the file.
    pub(super) length: u64,
    /// Offset and length of each piece, in the order of the body.
    pub(super) pieces: Vec<(u64, u64)>,
}

/// One entry without its body.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryType,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, u32),
    pub(super) device: (u32, u32),
    /// Extended attributes, as the stream names them.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<Sparse>,
}

/// A tar stream.
#[derive(Debug)]
pub(super) struct TarReader<R> {
    inner: R,
    /// Bytes of the present body that nobody has read.
    rest: u64,
    /// Zeros behind the body up to a whole block.
    padding: u64,
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            rest: 0,
            padding: 0,
        }
    }

    /// The next entry, or nothing at the end. What is left of the present body is skipped.
    pub(super) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let (mut long_path, mut long_link, mut extensions) = (None, None, None);
        loop {
            self.skip_body()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            self.begin_body(header.entry_size()?);
            match header.entry_type() {
                EntryType::GNULongName => long_path = Some(self.extension()?),
                EntryType::GNULongLink => long_link = Some(self.extension()?),
                EntryType::XHeader => extensions = Some(pax::read(&self.extension()?)?),
                EntryType::XGlobalHeader => {}
                _ => {
                    let pax = extensions.unwrap_or_default();
                    let mut entry = self.entry(&header, pax)?;
                    replace(&mut entry.path, long_path);
                    replace(&mut entry.link, long_link);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The stream, wherever it stands.
    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    fn entry(&mut self, header: &Header, pax: Pax) -> io::Result<Entry> {
        if let Some(size) = pax.size {
            self.begin_body(size);
        }
        let kind = header.entry_type();
        let sparse = match pax.sparse {
            Some(pieces) => Some(self.pax_sparse(pieces)?),
            None if kind.is_gnu_sparse() => Some(self.gnu_sparse(header)?),
            None => None,
        };
        let seconds = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
        let number = |value: io::Result<Option<u32>>| value.ok().flatten().unwrap_or(0);
        Ok(Entry {
            path: pax.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: pax.link.unwrap_or_else(|| {
                header
                    .link_name_bytes()
                    .map(|link| link.into_owned())
                    .unwrap_or_default()
            }),
            kind,
            mode: header.mode()?,
            uid: owner(pax.uid, &header.as_old().uid, header.uid())?,
            gid: owner(pax.gid, &header.as_old().gid, header.gid())?,
            mtime: pax.mtime.unwrap_or((seconds, 0)),
            device: (number(header.device_major()), number(header.device_minor())),
            xattrs: pax.xattrs,
            sparse,
        })
    }

    /// The next header block, or nothing at the end of the stream.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let filled = fill(&mut self.inner, header.as_mut_bytes())?;
        if filled == 0 || (filled == BLOCK && header.as_bytes().iter().all(|byte| *byte == 0)) {
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(broken("it ends within a header"));
        }
        let sum: u32 = header
            .as_bytes()
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                u32::from(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(broken("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn begin_body(&mut self, size: u64) {
        self.rest = size;
        // Not by the next multiple: a forged size has none.
        self.padding = size.wrapping_neg() % 512;
    }

    fn skip_body(&mut self) -> io::Result<()> {
        let skipped = self.rest.saturating_add(self.padding);
        let passed = io::copy(&mut self.inner.by_ref().take(skipped), &mut io::sink())?;
        if passed < self.rest {
            return Err(broken("it ends within a file"));
        }
        (self.rest, self.padding) = (0, 0);
        Ok(())
    }

    fn extension(&mut self) -> io::Result<Vec<u8>> {
        if self.rest > MAX_EXTENSION {
            return Err(broken("an extension header is longer than 1 MiB"));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn gnu_sparse(&mut self, header: &Header) -> io::Result<Sparse> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| broken("a sparse file has no GNU header"))?;
        let mut sparse = Sparse {
            length: gnu.real_size()?,
            pieces: Vec::new(),
        };
        add_pieces(&mut sparse, &gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut next = GnuExtSparseHeader::new();
            if fill(&mut self.inner, next.as_mut_bytes())? < BLOCK {
                return Err(broken("it ends within a sparse file's map"));
            }
            add_pieces(&mut sparse, next.sparse())?;
            more = next.is_extended();
        }
        checked(sparse)
    }

    /// In version 1.0 the map stands in front of the body, in decimal lines, up to a whole block.
    fn pax_sparse(&mut self, found: pax::SparseMap) -> io::Result<Sparse> {
        let (length, numbers) = match found {
            pax::SparseMap::Listed { length, numbers } => (length, numbers),
            pax::SparseMap::InBody { length } => (length, self.map_in_body()?),
        };
        let pieces = numbers
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [offset, size] => Some((*offset, *size)),
                _ => None,
            })
            .collect();
        checked(Sparse { length, pieces })
    }

    fn map_in_body(&mut self) -> io::Result<Vec<u64>> {
        let (mut numbers, mut digits) = (Vec::new(), Vec::new());
        let mut wanted = None;
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            let mut block = [0; BLOCK];
            if fill(self, &mut block)? < BLOCK {
                return Err(broken("it ends within a sparse file's map"));
            }
            for byte in block {
                if byte != b'\n' {
                    digits.push(byte);
                    continue;
                }
                let number = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|text| text.trim_matches('\0').parse::<u64>().ok());
                digits.clear();
                let number = number.ok_or_else(|| broken("a sparse file's map is no number"))?;
                match wanted {
                    None => {
                        let pieces = usize::try_from(number).unwrap_or(usize::MAX);
                        if pieces > MAX_PIECES {
                            return Err(broken("a sparse file has too many pieces"));
                        }
                        wanted = pieces.checked_mul(2);
                    }
                    Some(wanted) if numbers.len() < wanted => numbers.push(number),
                    Some(_) => {}
                }
            }
            if digits.iter().all(|byte| *byte == 0) {
                digits.clear();
            }
        }
        Ok(numbers)
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads from the present body.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.rest).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let Some(part) = buffer.get_mut(..wanted).filter(|part| !part.is_empty()) else {
            return Ok(0);
        };
        let read = self.inner.read(part)?;
        if read == 0 {
            return Err(broken("it ends within a file"));
        }
        self.rest = self
            .rest
            .saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

fn replace(field: &mut Vec<u8>, long: Option<Vec<u8>>) {
    if let Some(mut long) = long {
        while long.last() == Some(&0) {
            long.pop();
        }
        *field = long;
    }
}

/// A field that was left blank means root, as other readers take it.
fn owner(pax: Option<u64>, field: &[u8], header: io::Result<u64>) -> io::Result<u32> {
    let blank = field.iter().all(|byte| matches!(byte, 0 | b' '));
    let id = match pax {
        Some(id) => id,
        None if blank => 0,
        None => header?,
    };
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| broken(format!("{id} is no user or group id")))
}

fn add_pieces(sparse: &mut Sparse, headers: &[GnuSparseHeader]) -> io::Result<()> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        sparse.pieces.push((header.offset()?, header.length()?));
    }
    if sparse.pieces.len() > MAX_PIECES {
        return Err(broken("a sparse file has too many pieces"));
    }
    Ok(())
}

fn checked(sparse: Sparse) -> io::Result<Sparse> {
    let mut end = 0;
    for (offset, length) in &sparse.pieces {
        let next = offset.checked_add(*length).filter(|_| *offset >= end);
        end = next
            .filter(|next| *next <= sparse.length)
            .ok_or_else(|| broken("a sparse file's map does not fit its length"))?;
    }
    Ok(sparse)
}

/// Fills the buffer as far as the stream goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
