//! Begins further programs: from a plan to the supervisor's request, and the pipes or the terminal between.

use super::launch::candidates;
use super::place::Base;
use super::process::{ExecPlan, Privileges, Process, Reader, Streams, Writer};
use super::terminal::Master;
use super::{Container, RuntimeError};
use crate::exec::bundle::{RootSource, User};
use crate::exec::mounts::text;
use crate::exec::shim::{self, Connection, ShimError};
use skep_shim::protocol::{Exec, Reply, Request};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::net::unix::pipe;

/// How long it may take until the program runs, on a machine that is short of everything.
const BEGIN: Duration = Duration::from_secs(10);

/// Our ends of its streams, and what goes to the supervisor.
struct Ends {
    input: Option<Writer>,
    output: Option<Reader>,
    errors: Option<Reader>,
    master: Option<tokio::net::UnixStream>,
    given: Vec<OwnedFd>,
}

impl Container {
    /// Runs a further program in the container.
    ///
    /// # Errors
    /// [`RuntimeError::Exec`] if the container does not run or is paused, or a part of the plan is wrong;
    /// [`RuntimeError::Start`] if the program cannot be run, with Docker's exit code.
    pub async fn exec(&self, plan: &ExecPlan) -> Result<Process, RuntimeError> {
        let request = self.request(plan).await?;
        let begun = async {
            let mut connection = Connection::open(&self.place.socket()).await?;
            let ends = ends(plan.streams).map_err(ShimError::Gone)?;
            let given: Vec<BorrowedFd<'_>> = ends.given.iter().map(AsFd::as_fd).collect();
            connection
                .send_with(&Request::Exec(Box::new(request)), &given)
                .await?;
            let reply = connection.receive().await?;
            Ok::<_, ShimError>((connection, ends, reply))
        };
        let begun = tokio::time::timeout(BEGIN, begun).await;
        let (connection, mut ends, pid) = match begun.unwrap_or(Err(ShimError::Late(BEGIN))) {
            Ok((connection, ends, Reply::Started { pid })) => (connection, ends, pid),
            Ok((_, _, Reply::Failed(failure))) => {
                return Err(RuntimeError::start(self.id(), failure));
            }
            Ok((_, _, Reply::Refused(reason))) => return Err(self.refused(reason)),
            Ok(_) => return Err(self.failed_exec(ShimError::Garbled)),
            Err(ShimError::Gone(_)) if self.ended().is_some() => {
                return Err(self.refused("it has ended".into()));
            }
            Err(source) => return Err(self.failed_exec(source)),
        };
        ends.given.clear();
        let terminal = ends
            .take_terminal()
            .await
            .map_err(|source| self.failed_exec(ShimError::Gone(source)))?;
        let pipes = (ends.input, ends.output, ends.errors);
        Ok(Process::new(pipes, (pid, terminal), connection))
    }

    async fn request(&self, plan: &ExecPlan) -> Result<Exec, RuntimeError> {
        let refused = |reason: &str| self.refused(reason.to_owned());
        if self.ended().is_some() {
            return Err(refused("it has ended"));
        }
        let pid = self.pid().ok_or_else(|| refused("it has ended"))?;
        let Some(base) = self.record.program.clone() else {
            return Err(refused(
                "an earlier release of skep made it; replace it first",
            ));
        };
        if plan.args.first().is_none_or(String::is_empty) {
            return Err(refused("no command is given"));
        }
        let (group, user) = (self.record.group.clone(), plan.user.clone());
        let asked = user.clone().unwrap_or_else(|| base.uid.to_string());
        let looked = tokio::task::spawn_blocking(move || {
            let root = RootSource::Directory(format!("/proc/{pid}/root").into());
            (group.is_frozen(), User::find(&root, &asked))
        });
        let (frozen, found) = looked
            .await
            .map_err(|_| refused("the daemon is going down"))?;
        if frozen {
            return Err(refused("it is paused; resume it with container unpause"));
        }
        let (found, home) = found.map_err(|error| self.refused(error.to_string()))?;
        let own = User {
            uid: base.uid,
            gid: base.gid,
            groups: base.groups.clone(),
        };
        let user = if user.is_some() { found } else { own };
        let env = environment(&base, plan, &home);
        self.words(plan, &base, user, &env)
            .map_err(|error| self.refused(error.to_string()))
    }

    fn words(
        &self,
        plan: &ExecPlan,
        base: &Base,
        user: User,
        env: &[String],
    ) -> Result<Exec, crate::exec::mounts::MountError> {
        let all = |words: &[String]| words.iter().map(text).collect::<Result<Vec<_>, _>>();
        let command = plan.args.first().map(String::as_str).unwrap_or_default();
        Ok(Exec {
            candidates: all(&candidates(command, env))?,
            args: all(&plan.args)?,
            env: all(env)?,
            cwd: text(plan.cwd.as_ref().unwrap_or(&base.cwd))?,
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            privileged: plan.privileges == Privileges::All,
            terminal: match plan.streams {
                Streams::Terminal(size) => Some((size.rows, size.columns)),
                _ => None,
            },
            detached: plan.streams == Streams::Detached,
        })
    }

    fn refused(&self, reason: String) -> RuntimeError {
        RuntimeError::Exec {
            id: self.id().to_owned(),
            reason,
        }
    }
}

/// The container's variables, and those of the plan; each name once, later ones count.
fn environment(base: &Base, plan: &ExecPlan, home: &str) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut all = base.env.clone();
    let mut set = |entry: &str| {
        all.retain(|known| name(known) != name(entry));
        if entry.contains('=') {
            all.push(entry.to_owned());
        }
    };
    if matches!(plan.streams, Streams::Terminal(_)) {
        set("TERM=xterm");
    }
    if plan.user.is_some() || !base.env.iter().any(|entry| name(entry) == "HOME") {
        set(&format!("HOME={home}"));
    }
    plan.env.iter().for_each(|entry| set(entry));
    all
}

fn ends(streams: Streams) -> io::Result<Ends> {
    let mut ends = Ends {
        input: None,
        output: None,
        errors: None,
        master: None,
        given: Vec::new(),
    };
    let null = || {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())
    };
    if let Streams::Terminal(_) = streams {
        let (ours, theirs) = tokio::net::UnixStream::pair()?;
        // The child sends on it without waiting for anybody.
        ends.given.push(theirs.into_std()?.into());
        ends.master = Some(ours);
        return Ok(ends);
    }
    if streams == Streams::All {
        let (sender, receiver) = pipe::pipe()?;
        ends.input = Some(Box::new(sender));
        ends.given.push(receiver.into_blocking_fd()?);
    } else {
        ends.given.push(null()?);
    }
    for end in [&mut ends.output, &mut ends.errors] {
        if streams == Streams::Detached {
            ends.given.push(null()?);
            continue;
        }
        let (sender, receiver) = pipe::pipe()?;
        *end = Some(Box::new(receiver));
        ends.given.push(sender.into_blocking_fd()?);
    }
    Ok(ends)
}

impl Ends {
    /// The terminal's master, which came before the program ran.
    async fn take_terminal(&mut self) -> io::Result<Option<Master>> {
        let Some(socket) = self.master.take() else {
            return Ok(None);
        };
        let received = tokio::time::timeout(BEGIN, shim::receive_descriptor(socket)).await;
        let master = received.unwrap_or(Ok(None))?;
        let master = master.ok_or_else(|| io::Error::other("no terminal came"))?;
        let master = Master::new(master)?;
        self.input = Some(Box::new(master.clone()));
        self.output = Some(Box::new(master.clone()));
        Ok(Some(master))
    }
}
