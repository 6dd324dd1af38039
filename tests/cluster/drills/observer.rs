//! Somebody outside who tries nodes' doors, and somebody who knows how late the machine itself is.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_harness::cluster::{Cluster, DEADLINE};

/// Port of a node's door for other nodes.
const DOOR: u16 = 2377;
/// A report and what others saw differ by no more than this, in milliseconds, on a machine that is never late.
const NEAR: i64 = 200;
/// What is seen passes so many threads that each may have to wait for a processor.
const HANDS: i64 = 8;
/// A door that takes no connection within this time is closed.
const KNOCK: Duration = Duration::from_millis(200);
/// So many closed ones in a row are a failure and not a busy machine.
const ROW: u32 = 5;
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(5);

/// Between which moments something happened, in milliseconds since 1970.
pub type Between = (i64, i64);

/// What was seen of one node's door.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When it closed.
    pub closed: Between,
    /// When it opened again.
    pub opened: Between,
}

/// What was seen from outside while something was done.
#[derive(Debug)]
pub struct Outside {
    doors: Vec<(String, Option<Seen>)>,
    /// Longest time, in milliseconds, for which somebody who only wanted to look had to wait for a processor.
    late: i64,
}

impl Outside {
    /// What was seen of a node whose door closed and opened.
    pub fn of(&self, node: &str) -> Seen {
        let found = self.doors.iter().find(|(name, _)| name == node);
        let seen = found.and_then(|(_, seen)| *seen);
        seen.unwrap_or_else(|| {
            panic!("the door of {node} was not seen to close and open: {self:?}")
        })
    }

    /// What is said happened when it was seen to happen.
    pub fn agrees(&self, what: &str, said: i64, (from, to): Between) {
        let spare = NEAR + HANDS * self.late;
        assert!(
            said >= from - spare && said <= to + spare,
            "{what}: said {said}, seen between {from} and {to}, late by {} ms",
            self.late
        );
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Whether a machine's door takes a connection, as somebody outside sees it.
pub fn open(cluster: &Cluster, node: &str) -> bool {
    let at = SocketAddr::from((cluster.lab.address(node).unwrap(), DOOR));
    let connect = || TcpStream::connect_timeout(&at, KNOCK).is_ok();
    cluster.lab.in_network("outside", connect).unwrap()
}

/// Whether a machine's door is closed for longer than a busy machine keeps somebody waiting.
pub fn closed(cluster: &Cluster, node: &str) -> bool {
    (0..ROW).all(|_| !open(cluster, node))
}

/// Does `work` while somebody outside tries the doors of these nodes again and again.
pub fn observed<T>(cluster: &Cluster, nodes: &[&str], work: impl FnOnce() -> T) -> (T, Outside) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let late = scope.spawn(|| late(&over));
        let doors: Vec<_> = nodes
            .iter()
            .map(|node| {
                let at = SocketAddr::from((cluster.lab.address(node).unwrap(), DOOR));
                let over = &over;
                let look = move || cluster.lab.in_network("outside", || knock(at, over));
                ((*node).to_owned(), scope.spawn(look))
            })
            .collect();
        let done = work();
        over.store(true, Ordering::SeqCst);
        let doors = doors.into_iter();
        let doors = doors.map(|(node, seen)| (node, seen.join().unwrap().unwrap()));
        let outside = Outside {
            doors: doors.collect(),
            late: late.join().unwrap(),
        };
        (done, outside)
    })
}

fn late(over: &AtomicBool) -> i64 {
    let mut latest = Duration::ZERO;
    while !over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        std::thread::park_timeout(LOOK);
        latest = latest.max(begun.elapsed().saturating_sub(LOOK));
    }
    i64::try_from(latest.as_millis()).unwrap()
}

/// Tries a door until it was closed and open again, or, where it never was, until the work is over.
fn knock(at: SocketAddr, over: &AtomicBool) -> Option<Seen> {
    let mut last_open = now();
    let mut first_closed = None;
    let (mut last_closed, mut row) = (0, 0);
    let mut left = None;
    loop {
        let begun = now();
        let took = TcpStream::connect_timeout(&at, KNOCK).is_ok();
        let ended = now();
        match (took, first_closed) {
            (true, Some(first)) if row >= ROW => {
                return Some(Seen {
                    closed: (last_open, first),
                    opened: (last_closed, ended),
                });
            }
            (true, _) => {
                (last_open, first_closed, row) = (begun, None, 0);
                if over.load(Ordering::SeqCst) {
                    return None;
                }
            }
            (false, first) => {
                (first_closed, last_closed) = (first.or(Some(ended)), begun);
                row += 1;
                let over = over.load(Ordering::SeqCst);
                let since = *left.get_or_insert_with(Instant::now);
                if !over {
                    left = None;
                } else if since.elapsed() > DEADLINE {
                    return None;
                }
            }
        }
        std::thread::park_timeout(LOOK);
    }
}
