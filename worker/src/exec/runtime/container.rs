//! One container as the daemon holds it: asks its supervisor, knows how it ended, removes it.
//!
//! It never restarts anything and never decides that a container should end.

use super::place::{Place, Record};
use super::{Ended, RuntimeError};
use crate::exec::cgroup::{Group, Stats};
use crate::exec::shim::{self, Connection, ShimError};
use rustix::process::Pid;
use skep_shim::protocol::{self, Exit, Failure, Note, Reply, Request, Stage};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a supervisor may take for a simple answer on a machine that is short of everything.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the kernel may take to end killed processes and let go of their groups.
const CLEARING: Duration = Duration::from_secs(10);

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its program has not been run yet.
    Created,
    /// Its program runs.
    Running,
    /// It has ended.
    Ended(Ended),
}

/// A container; clones are the same one.
#[derive(Clone, Debug)]
pub struct Container {
    pub(super) record: Arc<Record>,
    pub(super) place: Arc<Place>,
    pid: Option<i32>,
    ended: watch::Receiver<Option<Ended>>,
}

/// Everything that listens for the end of a container.
pub(super) struct Keeper {
    pub record: Arc<Record>,
    pub place: Arc<Place>,
    pub supervisor: Option<Pid>,
    pub ended: watch::Sender<Option<Ended>>,
}

impl Container {
    /// Holds a container whose supervisor answers on this connection; must be in a runtime.
    pub(super) fn attach(
        record: Arc<Record>,
        place: Arc<Place>,
        (pid, supervisor): (i32, Option<Pid>),
        connection: Connection,
    ) -> Self {
        let (sender, ended) = watch::channel(None);
        let keeper = Keeper {
            record: Arc::clone(&record),
            place: Arc::clone(&place),
            supervisor,
            ended: sender,
        };
        tokio::spawn(keeper.keep(connection));
        Self {
            record,
            place,
            pid: Some(pid),
            ended,
        }
    }

    /// Holds a container of which only the end is left.
    pub(super) fn past(record: Arc<Record>, place: Arc<Place>, ended: Ended) -> Self {
        let (_, ended) = watch::channel(Some(ended));
        Self {
            record,
            place,
            pid: None,
            ended,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// What whoever made it wanted to be kept.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.record.labels
    }

    /// What asks it to end, as its bundle said.
    #[must_use]
    pub fn stop_signal(&self) -> i32 {
        self.record.stop_signal
    }

    /// Its first process in the daemon's PID namespace; none if it had ended when it was found.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// The file of its network namespace, as long as it has not ended.
    #[must_use]
    pub fn network_namespace(&self) -> Option<PathBuf> {
        self.pid
            .map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")))
    }

    /// The file of its output; older ones end in `.1`, `.2` and so on.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.place.log()
    }

    /// Why there is no log to read, if there is none.
    #[must_use]
    pub fn keeps_no_log(&self) -> Option<&'static str> {
        self.record.logless.then_some(
            "the container's log driver is none: what it writes is not kept; service update --log-driver local keeps it",
        )
    }

    /// When it was made, in milliseconds since 1970.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.record.created_ms
    }

    /// Its program and arguments; empty where an earlier release made it.
    #[must_use]
    pub fn command(&self) -> &[String] {
        let program = self.record.program.as_ref();
        program.map_or(&[], |program| &program.args)
    }

    /// Its control groups.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.record.group
    }

    /// How it ended, if it is known to have.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    /// Where it stands now.
    ///
    /// # Errors
    /// [`RuntimeError::Shim`] if its supervisor does not answer.
    pub async fn state(&self) -> Result<State, RuntimeError> {
        if let Some(ended) = self.ended() {
            return Ok(State::Ended(ended));
        }
        match self.ask("ask for its state", &Request::State).await {
            Ok(Reply::State(Stage::Created { .. })) => Ok(State::Created),
            Ok(Reply::State(Stage::Running { .. })) => Ok(State::Running),
            Ok(Reply::State(Stage::Ended(_))) => Ok(State::Ended(self.wait().await)),
            Ok(_) => Err(self.failed("ask for its state", ShimError::Garbled)),
            Err(error) => match self.just_ended().await {
                Some(ended) => Ok(State::Ended(ended)),
                None => Err(error),
            },
        }
    }

    /// Runs its program.
    ///
    /// # Errors
    /// [`RuntimeError::Start`] if the program cannot be run, with Docker's exit code.
    pub async fn start(&self) -> Result<(), RuntimeError> {
        match self.ask("start it", &Request::Start).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Failed(failure)) => Err(RuntimeError::start(self.id(), failure)),
            Ok(_) => Err(self.failed("start it", ShimError::Garbled)),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to its first process. One that has ended needs none.
    ///
    /// # Errors
    /// [`RuntimeError::Shim`].
    pub async fn kill(&self, signal: i32) -> Result<(), RuntimeError> {
        if self.ended().is_some() {
            return Ok(());
        }
        match self.ask("send it a signal", &Request::Kill(signal)).await {
            Ok(_) => Ok(()),
            Err(error) => self.just_ended().await.map(|_| ()).ok_or(error),
        }
    }

    /// Asks it to end, and makes it end after the grace.
    ///
    /// # Errors
    /// [`RuntimeError`] if it cannot be ended.
    pub async fn stop(&self, grace: Duration) -> Result<Ended, RuntimeError> {
        self.kill(self.record.stop_signal).await?;
        if let Ok(ended) = tokio::time::timeout(grace, self.wait()).await {
            return Ok(ended);
        }
        self.kill(libc::SIGKILL).await?;
        tokio::time::timeout(CLEARING, self.wait())
            .await
            .map_err(|_| RuntimeError::Immortal {
                id: self.id().to_owned(),
                after: CLEARING,
            })
    }

    /// Waits until it has ended.
    pub async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        let found = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|found| found.clone());
        // The keeper only goes without an answer when the whole daemon goes.
        found.unwrap_or_else(Ended::unknown)
    }

    /// What it uses now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.record.group.stats()
    }

    /// Ends it if it has not ended, and removes everything of it, the log included.
    ///
    /// # Errors
    /// [`RuntimeError`] if its processes do not end or something cannot be removed; it can be
    /// asked again.
    pub async fn delete(&self) -> Result<(), RuntimeError> {
        if self.ended().is_none() {
            let _ = self.kill(libc::SIGKILL).await;
        }
        let busy = |source| RuntimeError::Cgroup {
            id: self.id().to_owned(),
            source,
        };
        // Also what is left of a container whose supervisor is gone.
        self.record.group.kill(CLEARING).await.map_err(busy)?;
        let _ = tokio::time::timeout(CLEARING, self.wait()).await;
        self.record.group.remove(CLEARING).await.map_err(busy)?;
        let place = Arc::clone(&self.place);
        let cleared = tokio::task::spawn_blocking(move || place.clear()).await;
        cleared
            .unwrap_or(Ok(()))
            .map_err(|source| RuntimeError::Files {
                act: "remove the directories of",
                id: self.id().to_owned(),
                source,
            })
    }

    pub(super) fn failed_exec(&self, source: ShimError) -> RuntimeError {
        self.failed("run a program in it", source)
    }

    async fn ask(&self, act: &'static str, request: &Request) -> Result<Reply, RuntimeError> {
        let exchange = async {
            Connection::open(&self.place.socket())
                .await?
                .ask(request, ANSWER)
                .await
        };
        exchange.await.map_err(|source| self.failed(act, source))
    }

    fn failed(&self, act: &'static str, source: ShimError) -> RuntimeError {
        RuntimeError::Shim {
            act,
            id: self.id().to_owned(),
            source,
        }
    }

    /// How it ended, if a supervisor that did not answer had just told so to the keeper.
    async fn just_ended(&self) -> Option<Ended> {
        tokio::time::timeout(ANSWER, self.wait()).await.ok()
    }
}

impl Keeper {
    /// Waits for the end and tells everybody.
    async fn keep(self, mut connection: Connection) {
        let told = match connection.send(&Request::Wait).await {
            Ok(()) => connection.receive().await,
            Err(error) => Err(error),
        };
        drop(connection);
        let exit = match told {
            Ok(Reply::Ended(exit)) => exit,
            _ => self.without_supervisor().await,
        };
        self.ended
            .send_replace(Some(Ended::new(&exit, self.record.memory_limit)));
        if let Some(supervisor) = self.supervisor {
            shim::reap(supervisor).await;
        }
    }

    /// The supervisor is gone: its note tells why, or it was killed and took the container along.
    async fn without_supervisor(&self) -> Exit {
        if let Some(exit) = read_end(&self.place.ended()) {
            return exit;
        }
        if let Err(error) = self.record.group.kill(CLEARING).await {
            tracing::warn!(container.id = %self.record.id, %error, "cannot end an orphaned container");
        }
        let exit = lost("the container's supervisor was killed, and the container with it");
        leave_end(&self.place.ended(), &exit);
        exit
    }
}

/// The note how a container ended.
pub(super) fn read_end(path: &Path) -> Option<Exit> {
    match protocol::read_note(&std::fs::read(path).ok()?)? {
        Note::Ended(exit) => Some(exit),
        Note::Created { .. } => None,
    }
}

/// Leaves a note in the place of a supervisor that could not.
pub(super) fn leave_end(path: &Path, exit: &Exit) {
    let unfinished = path.with_extension("new");
    let bytes = protocol::note_bytes(&Note::Ended(exit.clone()));
    // Without the note the next daemon comes to the same answer.
    let _ = std::fs::write(&unfinished, bytes).and_then(|()| std::fs::rename(&unfinished, path));
}

/// The end of a container that nobody saw.
pub(super) fn lost(why: &str) -> Exit {
    let failure = Failure {
        act: why.to_owned(),
        errno: 0,
        code: 255,
    };
    Exit {
        code: 255,
        signal: None,
        oom_kills: 0,
        at_ms: super::now_ms(),
        failure: Some(failure),
    }
}
