//! A door before a server: it lets so many bytes of answers through and then holds everything, until it is opened.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// From one look for a new connection to the next.
const LOOK: Duration = Duration::from_millis(5);
/// Bytes carried at once.
const CHUNK: usize = 16 << 10;

/// The door. It serves whoever comes while [`Gate::serve`] runs.
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Bytes that may pass still.
    left: u64,
    passed: u64,
    /// Connections made before the last cut have a lower number.
    cuts: u64,
    /// Both ends of those made since.
    open: Vec<Arc<TcpStream>>,
    ended: bool,
}

impl State {
    fn break_all(&mut self) {
        self.cuts += 1;
        for stream in self.open.drain(..) {
            // It may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Gate {
    /// Lets `bytes` of answers through.
    pub fn new(bytes: u64) -> Self {
        let state = State {
            left: bytes,
            passed: 0,
            cuts: 0,
            open: Vec::new(),
            ended: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().expect("nobody panics with it"));
        self.changed.notify_all();
        changed
    }

    /// Bytes of answers that have passed.
    pub fn passed(&self) -> u64 {
        self.change(|state| state.passed)
    }

    /// Whether it holds everything now.
    pub fn holds(&self) -> bool {
        self.change(|state| state.left == 0)
    }

    /// Breaks every connection and lets all pass that come from now on.
    pub fn cut(&self) {
        self.change(|state| {
            state.break_all();
            state.left = u64::MAX;
        });
    }

    /// Ends [`Gate::serve`].
    pub fn end(&self) {
        self.change(|state| {
            state.break_all();
            state.ended = true;
        });
    }

    /// Carries what comes to `from` on to `to`, both on the machine whose network the caller is in.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn serve(&self, from: u16, to: u16) {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, from)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        thread::scope(|scope| {
            while !self.change(|state| state.ended) {
                let Ok((near, _)) = listener.accept() else {
                    thread::park_timeout(LOOK);
                    continue;
                };
                // A server that is away: whoever came is sent away as well.
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else {
                    continue;
                };
                near.set_nonblocking(false).expect("a connection");
                let [near, far] = [near, far].map(Arc::new);
                let cuts = self.change(|state| {
                    state.open.extend([near.clone(), far.clone()]);
                    if state.ended {
                        state.break_all();
                    }
                    state.cuts
                });
                let (asking, asked) = (near.clone(), far.clone());
                scope.spawn(move || {
                    drop(std::io::copy(&mut &*asking, &mut &*asked));
                    drop(asked.shutdown(Shutdown::Write));
                });
                scope.spawn(move || {
                    self.answer(&far, &near, cuts);
                    drop(near.shutdown(Shutdown::Both));
                    drop(far.shutdown(Shutdown::Both));
                });
            }
        });
    }

    /// Carries answers until there are no more, or the connection is cut.
    fn answer(&self, mut from: &TcpStream, mut to: &TcpStream, cuts: u64) {
        let mut chunk = [0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let mut rest = &chunk[..length];
            while !rest.is_empty() {
                let Some(allowed) = self.allowed(rest.len(), cuts) else {
                    return;
                };
                let (now, later) = rest.split_at(allowed);
                if to.write_all(now).is_err() {
                    return;
                }
                rest = later;
            }
        }
    }

    /// How many of so many bytes may pass now; none after a cut.
    fn allowed(&self, wanted: usize, cuts: u64) -> Option<usize> {
        let state = self.state.lock().expect("nobody panics with it");
        let held = |state: &mut State| state.left == 0 && state.cuts == cuts;
        let mut state = self.changed.wait_while(state, held).expect("nobody panics");
        if state.cuts != cuts {
            return None;
        }
        let allowed = wanted.min(usize::try_from(state.left).unwrap_or(usize::MAX));
        let bytes = u64::try_from(allowed).unwrap_or_default();
        state.left -= bytes;
        state.passed += bytes;
        Some(allowed)
    }
}
