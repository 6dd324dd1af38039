//! Asks services again and again while a drill goes on. An answer counts; whatever else happens is a lost request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skep_deploy::drill::Asked;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::clock::Clock;

/// Requests of one place that are on their way at most: a place that answers nothing is not asked more and more.
const ON_THE_WAY: usize = 256;
/// Bytes of an answer that are read.
const LARGEST: usize = 1 << 20;
/// Bytes of an answer's head.
const HEAD: usize = 16 << 10;

/// A place as it was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    how: How,
    /// Nothing: every node that is not cut off.
    host: Option<String>,
    port: u16,
}

/// How a place is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
enum How {
    /// A connection that is taken is an answer.
    Tcp,
    /// An answer below 500 to `GET` of this path.
    Http(String),
}

/// A place to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Door {
    /// For people.
    pub name: String,
    how: How,
    host: String,
    address: SocketAddr,
}

/// Reads `http://HOST:PORT/PATH` or `tcp://HOST:PORT`.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn read(text: &str) -> Result<Probe, String> {
    let wrong = |why: &str| {
        Err(format!(
            "{why}; write http://HOST:PORT/PATH or tcp://HOST:PORT, or leave HOST out to ask every node"
        ))
    };
    let (place, path) = match text.split_once("://") {
        Some(("tcp", place)) => (place.trim_end_matches('/'), None),
        Some(("http", rest)) => match rest.find('/') {
            Some(at) => {
                let (place, path) = rest.split_at(at);
                (place, Some(path.to_owned()))
            }
            None => (rest, Some("/".to_owned())),
        },
        Some(("https", _)) => {
            return wrong("https is not asked: what answers is not known to be meant");
        }
        _ => return wrong("it begins with neither http:// nor tcp://"),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (place, path.as_ref().map(|_| 80)),
    };
    let Some(port) = port.filter(|port| *port != 0) else {
        return wrong("it has no port");
    };
    if path
        .iter()
        .any(|path| path.chars().any(|c| c.is_control() || c == ' '))
    {
        return wrong("its path holds what no path can");
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Probe {
        how: path.map_or(How::Tcp, How::Http),
        host: (!host.is_empty()).then(|| host.to_owned()),
        port,
    })
}

impl Probe {
    /// The places that it names; `nodes` are those that are not cut off.
    ///
    /// # Errors
    /// When its host has no address.
    pub async fn doors(&self, nodes: &[SocketAddr]) -> anyhow::Result<Vec<Door>> {
        let Some(host) = &self.host else {
            let nodes = nodes.iter();
            return Ok(nodes
                .map(|node| self.door(&node.ip().to_string(), *node))
                .collect());
        };
        let mut found = tokio::net::lookup_host((host.as_str(), self.port)).await?;
        let address = found
            .next()
            .ok_or_else(|| anyhow::anyhow!("{host} has no address"))?;
        Ok(vec![self.door(host, address)])
    }

    fn door(&self, host: &str, address: SocketAddr) -> Door {
        let address = SocketAddr::new(address.ip(), self.port);
        Door {
            name: match &self.how {
                How::Tcp => format!("tcp://{address}"),
                How::Http(path) => format!("http://{address}{path}"),
            },
            how: self.how.clone(),
            host: host.to_owned(),
            address,
        }
    }
}

impl Door {
    /// A connection to a port that a service publishes on a node.
    pub fn published(service: &str, node: &str, address: SocketAddr) -> Self {
        Self {
            name: format!("{service} on {node}:{}", address.port()),
            how: How::Tcp,
            host: node.to_owned(),
            address,
        }
    }
}

/// Asks all doors until it is dropped. Each request goes to `told` once it has ended.
pub fn ask_all(
    doors: &[Door],
    rate: u32,
    within: Duration,
    clock: Clock,
    told: &mpsc::Sender<Asked>,
) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    for (number, door) in doors.iter().cloned().enumerate() {
        let told = told.clone();
        asking.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            let room = Arc::new(Semaphore::new(ON_THE_WAY));
            let mut requests = JoinSet::new();
            loop {
                tick.tick().await;
                while requests.try_join_next().is_some() {}
                let Ok(room) = Arc::clone(&room).try_acquire_owned() else {
                    continue;
                };
                let (door, told) = (door.clone(), told.clone());
                requests.spawn(async move {
                    let at = clock.now();
                    let answered = tokio::time::timeout(within, ask(&door)).await;
                    let error = match answered {
                        Ok(Ok(())) => None,
                        Ok(Err(error)) => Some(error.to_string()),
                        Err(_) => Some(format!("no answer within {within:?}")),
                    };
                    let took = clock.now().saturating_sub(at);
                    let asked = Asked {
                        door: number,
                        at,
                        took,
                        error,
                    };
                    // Nobody counts any more when the drill is over.
                    let _ = told.send(asked).await;
                    drop(room);
                });
            }
        });
    }
    asking
}

/// Why a request is lost.
#[derive(Debug)]
enum Lost {
    Io(std::io::Error),
    Said(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Said(text) => f.write_str(text),
        }
    }
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

async fn ask(door: &Door) -> Result<(), Lost> {
    let mut stream = TcpStream::connect(door.address).await?;
    let How::Http(path) = &door.how else {
        return Ok(());
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: skep-drill\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        door.host
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut part = [0; 8 << 10];
    while answer.len() < LARGEST {
        let length = stream.read(&mut part).await?;
        if length == 0 || whole(&answer) {
            break;
        }
        answer.extend_from_slice(part.get(..length).unwrap_or_default());
        if whole(&answer) {
            break;
        }
    }
    judged(&answer)
}

/// Where the head ends, and what it says of the length of what follows.
fn head(answer: &[u8]) -> Option<(String, usize)> {
    let searched = answer.get(..answer.len().min(HEAD)).unwrap_or_default();
    let end = searched.windows(4).position(|it| it == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(searched.get(..end).unwrap_or_default());
    Some((text.into_owned(), end + 4))
}

fn length(head: &str) -> Option<usize> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

/// Whether all of an answer is there that says its length.
fn whole(answer: &[u8]) -> bool {
    let Some((head, body)) = head(answer) else {
        return false;
    };
    length(&head).is_some_and(|length| answer.len().saturating_sub(body) >= length)
}

fn judged(answer: &[u8]) -> Result<(), Lost> {
    let Some((head, body)) = head(answer) else {
        return Err(Lost::Said(match answer.is_empty() {
            true => "the connection was closed without an answer".to_owned(),
            false => "the answer is no HTTP, or was cut short".to_owned(),
        }));
    };
    let first = head.lines().next().unwrap_or_default();
    let status: Option<u16> = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    match status {
        None => Err(Lost::Said("the answer is no HTTP".to_owned())),
        Some(status) if status >= 500 => Err(Lost::Said(format!("the answer is {status}"))),
        Some(_) => match length(&head) {
            Some(length) if length <= LARGEST && answer.len().saturating_sub(body) < length => {
                Err(Lost::Said("the answer was cut short".to_owned()))
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_what_is_none_is_refused_with_the_way_to_write_it() {
        let named = |text: &str| {
            let probe = read(text).unwrap();
            (probe.how, probe.host, probe.port)
        };
        let http = |path: &str| How::Http(path.to_owned());
        let host = |host: &str| Some(host.to_owned());
        assert_eq!(named("http://a:8080/x?y"), (http("/x?y"), host("a"), 8080));
        assert_eq!(named("http://a"), (http("/"), host("a"), 80));
        assert_eq!(named("http://:8080"), (http("/"), None, 8080));
        assert_eq!(named("tcp://:53"), (How::Tcp, None, 53));
        assert_eq!(named("tcp://[::1]:53"), (How::Tcp, host("::1"), 53));
        for text in [
            "",
            "a:80",
            "tcp://a",
            "tcp://a:0",
            "tcp://a:99999",
            "https://a/",
            "http://a:80/b c",
        ] {
            assert!(
                read(text).unwrap_err().contains("http://HOST:PORT/PATH"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_answer_counts_when_it_is_whole_and_no_failure_of_the_server() {
        let judge = |text: &str| judged(text.as_bytes()).map_err(|lost| lost.to_string());
        assert_eq!(
            judge("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
            Ok(())
        );
        assert_eq!(judge("HTTP/1.0 404 No\r\n\r\n"), Ok(()));
        assert_eq!(judge("HTTP/1.1 200 OK\r\n\r\nwhatever"), Ok(()));
        for (text, why) in [
            ("", "without an answer"),
            ("SSH-2.0", "no HTTP"),
            ("x y z\r\n\r\n", "no HTTP"),
            ("HTTP/1.1 503 Later\r\n\r\n", "503"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi",
                "cut short",
            ),
        ] {
            assert!(judge(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_refused_and_what_is_silent_is_lost() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let probe = read(&format!("http://{address}/")).unwrap();
        let mut doors = probe.doors(&[]).await.unwrap();
        doors.push(Door::published("web", "n1", address));
        let (told, mut asked) = mpsc::channel(100);
        let clock = Clock::new();
        let _asking = ask_all(&doors, 100, Duration::from_millis(50), clock, &told);
        let (mut lost, mut answered) = (false, false);
        while !(lost && answered) {
            let asked = tokio::time::timeout(Duration::from_secs(10), asked.recv());
            let asked = asked.await.unwrap().unwrap();
            match asked.door {
                0 => lost |= asked.error.unwrap().contains("no answer within"),
                _ => answered |= asked.error.is_none(),
            }
        }
    }
}
