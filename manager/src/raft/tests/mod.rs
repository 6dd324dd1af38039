//! Whole managers in one process: real logs in temporary directories, a network in memory that can be cut.

mod cluster;
mod disks;
mod grpc;
mod seeds;
mod snapshots;
mod speed;
mod suite;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::sim_disk::SimDisk;
use super::*;

/// Numbers by name; small enough to see through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers(Arc<BTreeMap<String, u64>>);

impl Numbers {
    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Replicated for Numbers {
    type Entry = (String, u64);
    type Outcome = Option<u64>;

    fn apply(&mut self, _index: u64, entry: &(String, u64)) -> Option<u64> {
        Arc::make_mut(&mut self.0).insert(entry.0.clone(), entry.1)
    }

    fn encode_entry(entry: &(String, u64)) -> Result<Bytes, CodecFailure> {
        Ok(Bytes::from(format!("{} {}", entry.1, entry.0)))
    }

    fn decode_entry(bytes: Bytes) -> Result<(String, u64), CodecFailure> {
        let text = std::str::from_utf8(&bytes).map_err(|e| CodecFailure(e.to_string()))?;
        let (number, name) = text
            .split_once(' ')
            .ok_or_else(|| CodecFailure("no name".into()))?;
        let number = number
            .parse()
            .map_err(|_| CodecFailure("no number".into()))?;
        Ok((name.to_owned(), number))
    }

    fn encode_snapshot(&self, out: &mut dyn Write) -> io::Result<()> {
        for (name, number) in &*self.0 {
            writeln!(out, "{number} {name}")?;
        }
        Ok(())
    }

    fn decode_snapshot(input: &mut dyn Read) -> io::Result<Self> {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        let mut numbers = Self::default();
        for line in text.lines() {
            let entry = Self::decode_entry(Bytes::copy_from_slice(line.as_bytes()));
            numbers.apply(0, &entry.map_err(|e| io::Error::other(e.to_string()))?);
        }
        Ok(numbers)
    }
}

/// A network in memory.
#[derive(Clone, Default)]
pub(crate) struct Switch(Arc<Mutex<Plugs>>);

#[derive(Default)]
struct Plugs {
    inbound: HashMap<u64, Arc<dyn Inbound>>,
    cut: HashSet<u64>,
    /// Answers take up to so long.
    lag: Duration,
    snapshots: usize,
}

impl Switch {
    fn plug(&self, id: u64, inbound: Arc<dyn Inbound>) {
        self.0.lock().unwrap().inbound.insert(id, inbound);
    }

    fn unplug(&self, id: u64) {
        self.0.lock().unwrap().inbound.remove(&id);
    }

    pub(crate) fn cut(&self, id: u64) {
        self.0.lock().unwrap().cut.insert(id);
    }

    pub(crate) fn heal(&self, id: u64) {
        self.0.lock().unwrap().cut.remove(&id);
    }

    /// From now on answers take up to `most`.
    pub(crate) fn lag(&self, most: Duration) {
        self.0.lock().unwrap().lag = most;
    }

    pub(crate) fn snapshots(&self) -> usize {
        self.0.lock().unwrap().snapshots
    }

    fn route(&self, from: u64, to: u64) -> Result<Arc<dyn Inbound>, TransportError> {
        let plugs = self.0.lock().unwrap();
        let inbound = plugs.inbound.get(&to).cloned();
        let inbound =
            inbound.ok_or_else(|| TransportError::Unreachable(format!("{to} is down")))?;
        if plugs.cut.contains(&from) || plugs.cut.contains(&to) {
            return Err(TransportError::Late(Duration::ZERO));
        }
        Ok(inbound)
    }
}

/// A manager's plug in the switch; its id is known once it is open.
#[derive(Clone)]
struct Plug {
    switch: Switch,
    from: Arc<std::sync::OnceLock<u64>>,
}

impl Transport for Plug {
    fn call(
        &self,
        target: &Target,
        _lane: Lane,
        call: Call,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (plug, target) = (self.clone(), target.clone());
        Box::pin(async move {
            let from = *plug.from.get().unwrap_or(&0);
            match plug.switch.route(from, target.id) {
                Ok(inbound) => {
                    let most = plug.switch.0.lock().unwrap().lag;
                    let answer = inbound.answer(target.id, call, body).await;
                    tokio::time::sleep(most.mul_f64(rand::random())).await;
                    answer
                }
                Err(TransportError::Late(_)) => {
                    // A cut swallows; nobody is told.
                    tokio::time::sleep(within).await;
                    Err(TransportError::Late(within))
                }
                Err(error) => Err(error),
            }
        })
    }

    fn send_snapshot(
        &self,
        target: &Target,
        head: Bytes,
        pieces: Pieces,
        _within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (plug, target) = (self.clone(), target.clone());
        Box::pin(async move {
            let from = *plug.from.get().unwrap_or(&0);
            let inbound = plug.switch.route(from, target.id)?;
            plug.switch.0.lock().unwrap().snapshots += 1;
            inbound.install(target.id, head, pieces).await
        })
    }
}

/// One manager and its disk, which outlives it.
pub(crate) struct Manager {
    pub dir: TempDir,
    pub consensus: Consensus<Numbers>,
}

impl Manager {
    pub(crate) fn target(&self) -> Target {
        Target {
            id: self.consensus.id(),
            address: format!("m{:x}", self.consensus.id()),
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.consensus.leader().borrow().own
    }
}

/// A cluster on one switch.
pub(crate) struct World {
    pub switch: Switch,
    pub managers: Vec<Option<Manager>>,
    config: fn(Config) -> Config,
    /// What managers opened from now on use in place of their directory.
    disk: Option<SimDisk>,
}

impl World {
    /// `count` managers that form one cluster.
    pub(crate) async fn new(count: usize, config: fn(Config) -> Config) -> Self {
        Self::new_on(None, count, config).await
    }

    /// The same with the first manager on `disk`.
    pub(crate) async fn new_on(
        disk: Option<SimDisk>,
        count: usize,
        config: fn(Config) -> Config,
    ) -> Self {
        let mut world = Self {
            switch: Switch::default(),
            managers: Vec::new(),
            config,
            disk,
        };
        world.add().await;
        world.disk = None;
        let first = world.manager(0);
        first
            .consensus
            .initialize(&first.target().address)
            .await
            .unwrap();
        world.leader().await;
        for at in 1..count {
            world.add().await;
            world.join(at).await;
        }
        world
    }

    /// One more manager, not yet a member; its place.
    pub(crate) async fn add(&mut self) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let manager = self.open(dir).await;
        self.managers.push(Some(manager));
        self.managers.len() - 1
    }

    /// Lets the manager at `at` vote.
    pub(crate) async fn join(&self, at: usize) {
        let target = self.manager(at).target();
        let leader = self.manager(self.leader().await).consensus.clone();
        leader.add_learner(&target).await.unwrap();
        leader.promote(target.id).await.unwrap();
    }

    async fn open(&self, dir: TempDir) -> Manager {
        let from = Arc::new(std::sync::OnceLock::new());
        let plug = Plug {
            switch: self.switch.clone(),
            from: from.clone(),
        };
        let config = (self.config)(Config::new(dir.path().join("raft")));
        let opened = match self.disk.clone() {
            Some(disk) => Consensus::open_on(config, disk.shared(), Arc::new(plug)).await,
            None => Consensus::open(config, Arc::new(plug)).await,
        };
        let consensus = opened.unwrap();
        from.set(consensus.id()).unwrap();
        self.switch.plug(consensus.id(), consensus.inbound());
        Manager { dir, consensus }
    }

    pub(crate) fn manager(&self, at: usize) -> &Manager {
        self.managers[at].as_ref().expect("it was killed")
    }

    /// Ends a manager; its disk stays.
    pub(crate) async fn kill(&mut self, at: usize) -> TempDir {
        let Manager { dir, consensus } = self.managers[at].take().unwrap();
        self.switch.unplug(consensus.id());
        consensus.shutdown().await;
        dir
    }

    pub(crate) async fn restart(&mut self, at: usize, dir: TempDir) {
        self.managers[at] = Some(self.open(dir).await);
    }

    /// Waits for a leader that the switch lets through.
    pub(crate) async fn leader(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let leads = |(at, manager): (usize, &Option<Manager>)| {
                let manager = manager.as_ref()?;
                let cut = self
                    .switch
                    .0
                    .lock()
                    .unwrap()
                    .cut
                    .contains(&manager.consensus.id());
                (manager.leads() && !cut).then_some(at)
            };
            if let Some(at) = self.managers.iter().enumerate().find_map(leads) {
                return at;
            }
            assert!(Instant::now() < deadline, "no leader");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes through whoever leads, as often as it takes.
    pub(crate) async fn write(&self, name: &str, number: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let leader = self.manager(self.leader().await);
            match leader.consensus.propose(&(name.to_owned(), number)).await {
                Ok(_) => return,
                Err(
                    ProposeError::NotLeader { .. }
                    | ProposeError::Unknown
                    | ProposeError::NoRoom(_),
                ) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "no write came through");
        }
    }

    /// Waits until every manager's state meets `met`.
    pub(crate) async fn wait_states(&self, met: impl Fn(&Numbers) -> bool) {
        for manager in self.managers.iter().flatten() {
            let mut state = manager.consensus.state();
            let reached = state.wait_for(|published| met(&published.state));
            let reached = tokio::time::timeout(Duration::from_secs(15), reached).await;
            reached.expect("a manager never got there").unwrap();
        }
    }
}
