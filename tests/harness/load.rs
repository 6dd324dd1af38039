//! Many requests, each on a connection of its own, at a steady rate; and what became of every one of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Requests that may be under way at once: at the rates of tests an answer may take half a second.
const CALLERS: usize = 256;
/// An answer that takes longer is lost. The kernel repeats a lost packet within it several times.
const PATIENCE: Duration = Duration::from_secs(15);

/// Requests that are sent until somebody says stop.
pub struct Load {
    /// Asked in turn.
    pub to: Vec<SocketAddr>,
    /// Requests in a second.
    pub rate: u32,
    next: AtomicU64,
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

/// What became of requests.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many had which body.
    pub answers: BTreeMap<String, u64>,
    /// How the others ended, and when after the beginning.
    pub lost: Vec<String>,
}

/// Ends a load when it goes, on whatever way.
pub struct Stop<'a>(pub &'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Load {
    /// Nothing is sent yet.
    pub fn new(to: Vec<SocketAddr>, rate: u32) -> Self {
        Self {
            to,
            rate,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    /// Sends until [`Load::stop`], from the network that the caller is in, and waits for the last answer.
    pub fn run(&self) {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| self.call(begin));
            }
        });
    }

    /// No further request is begun.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// So far.
    ///
    /// # Panics
    /// Never: no caller panics.
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("a caller does not panic").clone()
    }

    fn call(&self, begin: Instant) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs(1).mul_f64(number as f64 / f64::from(self.rate));
            while let Some(early) = due.checked_sub(begin.elapsed()) {
                std::thread::park_timeout(early);
            }
            let turn = usize::try_from(number).unwrap_or_default() % self.to.len();
            let asked = wall();
            let ended = ask(self.to[turn]);
            let mut seen = self.seen.lock().expect("a caller does not panic");
            match ended {
                Ok(body) => *seen.answers.entry(body).or_default() += 1,
                Err(error) => {
                    let (to, lost) = (self.to[turn], wall());
                    seen.lost
                        .push(format!("{to}, asked at {asked}, lost at {lost}: {error}"));
                }
            }
        }
    }
}

/// The time of day as daemons write it into their logs.
fn wall() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{hour:02}:{minute:02}:{second:02}.{:06}",
        since.subsec_micros()
    )
}

/// The body of the page, all of it.
fn ask(at: SocketAddr) -> std::io::Result<String> {
    let named = |what: &'static str| {
        move |error: std::io::Error| std::io::Error::new(error.kind(), format!("{what}: {error}"))
    };
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(named("connect"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")
        .map_err(named("send"))?;
    let mut answer = String::new();
    if let Err(error) = stream.read_to_string(&mut answer) {
        let from = stream.local_addr()?;
        let words = format!("read by {from} after {answer:?}: {error}");
        return Err(std::io::Error::new(error.kind(), words));
    }
    let parts = answer.split_once("\r\n\r\n");
    let (head, body) = parts.ok_or_else(|| std::io::Error::other(format!("cut: {answer:?}")))?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let whole = length.and_then(|length| length.parse().ok()) == Some(body.len());
    if head.split(' ').nth(1) != Some("200") || !whole {
        return Err(std::io::Error::other(format!(
            "not a whole page: {answer:?}"
        )));
    }
    Ok(body.to_owned())
}
