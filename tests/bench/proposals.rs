//! What a proposal to a manager of one costs beside the bare disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use skep_manager::raft::{
    Call, CodecFailure, Config, Consensus, Lane, Pieces, Replicated, Target, Transport,
    TransportError,
};
use tokio_util::bytes::Bytes;

use crate::report::{Line, Times};

const LEN: usize = 1024;
const BARE: u32 = 1000;
const ALONE: u32 = 1000;
const CLIENTS: u32 = 64;
const EACH: u32 = 100;
/// A new group of one elects itself well within it.
const LEADER_WAIT: Duration = Duration::from_secs(10);

/// A state that keeps nothing but a count.
#[derive(Clone, Default)]
struct Counter(u64);

impl Replicated for Counter {
    type Entry = Bytes;
    type Outcome = u64;

    fn apply(&mut self, _index: u64, _entry: &Bytes) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }

    fn encode_entry(entry: &Bytes) -> Result<Bytes, CodecFailure> {
        Ok(entry.clone())
    }

    fn decode_entry(bytes: Bytes) -> Result<Bytes, CodecFailure> {
        Ok(bytes)
    }

    fn encode_snapshot(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0.to_be_bytes())
    }

    fn decode_snapshot(input: &mut dyn Read) -> io::Result<Self> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

/// There is nobody else.
struct Nobody;

type Answer<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<Bytes, TransportError>> + Send + 'a>>;

impl Transport for Nobody {
    fn call(&self, to: &Target, _: Lane, _: Call, _: Bytes, _: Duration) -> Answer<'static> {
        let address = to.address.clone();
        Box::pin(async { Err(TransportError::Unreachable(address)) })
    }

    fn send_snapshot(&self, to: &Target, _: Bytes, _: Pieces, _: Duration) -> Answer<'static> {
        let address = to.address.clone();
        Box::pin(async { Err(TransportError::Unreachable(address)) })
    }
}

/// One client, then many, beside write and fdatasync of the same bytes on the same disk.
pub async fn measure() -> anyhow::Result<Vec<Line>> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("a directory")?;
    let directory = tempfile::tempdir_in(beside)?;
    let bare = bare(&directory.path().join("bare"))?;
    let consensus: Consensus<Counter> =
        Consensus::open(Config::new(directory.path().join("raft")), Arc::new(Nobody)).await?;
    consensus.initialize("127.0.0.1:1").await?;
    let mut leader = consensus.leader();
    tokio::time::timeout(LEADER_WAIT, leader.wait_for(|it| it.own)).await??;
    let entry = Bytes::from(vec![7; LEN]);
    let mut times = Vec::new();
    for _ in 0..ALONE {
        let begin = Instant::now();
        consensus.propose(&entry).await?;
        times.push(begin.elapsed());
    }
    let alone = Times::new(times);
    let begin = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (consensus, entry) = (consensus.clone(), entry.clone());
        clients.spawn(async move {
            for _ in 0..EACH {
                consensus.propose(&entry).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let rate = f64::from(CLIENTS * EACH) / begin.elapsed().as_secs_f64();
    consensus.shutdown().await;
    let (one, each) = (alone.median().as_secs_f64(), bare.median().as_secs_f64());
    eprintln!("proposals: {}, {rate:.0} a second", alone.shown());
    let floor = format!("{} write + fdatasync", bare.shown());
    Ok(vec![
        Line {
            what: "proposal of 1 KiB, one client".into(),
            measured: alone.shown(),
            floor: floor.clone(),
            ratio: one / each,
            goal: "",
        },
        Line {
            what: format!("proposals of 1 KiB, {CLIENTS} clients"),
            measured: format!("{rate:.0} a second"),
            floor: format!("{:.0} a second, write + fdatasync one by one", 1.0 / each),
            ratio: 1.0 / each / rate,
            goal: "",
        },
    ])
}

/// Writes into space that is there already, as the log does.
fn bare(path: &std::path::Path) -> anyhow::Result<Times> {
    let file = File::create(path)?;
    let length = u64::try_from(LEN)?;
    file.write_all_at(&vec![0; LEN * usize::try_from(BARE)?], 0)?;
    file.sync_data()?;
    let mut times = Vec::new();
    for at in 0..u64::from(BARE) {
        let begin = Instant::now();
        file.write_all_at(&[1; LEN], at * length)?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(Times::new(times))
}
