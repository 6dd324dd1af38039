//! The cluster's `State` as what Raft replicates. Its bytes are `record`'s.

use std::io::{self, Read, Write};

use bytes::Bytes;

use super::machine::{CodecFailure, Replicated};
use crate::record;
use crate::state::{Entry, Outcome, State};

/// No object comes near this; a length beyond it is damage.
const OBJECT_MOST: u32 = 64 << 20;

impl Replicated for State {
    type Entry = Entry;
    type Outcome = Outcome;

    fn apply(&mut self, index: u64, entry: &Entry) -> Outcome {
        Self::apply(self, index, entry)
    }

    fn encode_entry(entry: &Entry) -> Result<Bytes, CodecFailure> {
        Ok(record::encode_entry(entry).into())
    }

    fn decode_entry(bytes: Bytes) -> Result<Entry, CodecFailure> {
        record::decode_entry(&bytes).map_err(|error| CodecFailure(error.to_string()))
    }

    fn encode_snapshot(&self, out: &mut dyn Write) -> io::Result<()> {
        for object in self.objects() {
            let bytes = record::encode_object(&object);
            let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            out.write_all(&len.to_le_bytes())?;
            out.write_all(&bytes)?;
        }
        // The end is written, so that a snapshot cut short is never taken for a smaller one.
        out.write_all(&u32::MAX.to_le_bytes())
    }

    fn decode_snapshot(input: &mut dyn Read) -> io::Result<Self> {
        let mut objects = Vec::new();
        loop {
            let mut len = [0; 4];
            input.read_exact(&mut len)?;
            let len = u32::from_le_bytes(len);
            if len == u32::MAX {
                return Ok(Self::from_objects(objects));
            }
            if len > OBJECT_MOST {
                let why = format!("an object of {len} bytes in a snapshot");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            input.read_exact(&mut bytes)?;
            let object = record::decode_object(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            objects.push(object);
        }
    }
}
