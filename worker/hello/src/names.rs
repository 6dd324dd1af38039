//! Resolves names as the container's files say: /etc/hosts, then the servers of /etc/resolv.conf.
//!
//! A static program has no resolver of the C library that would work without its files, so this asks for
//! itself: A records over UDP, over TCP when the answer did not fit.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::request::as_address;

/// For one server to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each server is asked.
const ATTEMPTS: usize = 2;
/// The most bytes of an answer over UDP.
const MAX_ANSWER: usize = 4096;

/// All IPv4 addresses of a name; an address is its own.
pub fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    if let Some(address) = as_address(name) {
        return Ok(vec![address]);
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let listed = listed(&read("/etc/hosts"), name);
    if !listed.is_empty() {
        return Ok(listed);
    }
    let mut reason = "/etc/resolv.conf names no server".to_owned();
    for server in servers(&read("/etc/resolv.conf")) {
        for _ in 0..ATTEMPTS {
            match ask(server, name) {
                Ok(Some(found)) if !found.is_empty() => return Ok(found),
                Ok(Some(_)) => return Err(format!("{name} has no address")),
                Ok(None) => return Err(format!("{name} is not known to {server}")),
                Err(error) => reason = format!("{server} does not answer: {error}"),
            }
        }
    }
    Err(format!("cannot resolve {name}: {reason}"))
}

fn listed(hosts: &str, name: &str) -> Vec<IpAddr> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = as_address(words.next()?)?;
            words
                .any(|word| word.eq_ignore_ascii_case(name))
                .then_some(address)
        })
        .collect()
}

fn servers(conf: &str) -> Vec<SocketAddr> {
    let addresses = conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    });
    addresses
        .filter_map(|address| Some(SocketAddr::new(as_address(address)?, 53)))
        .collect()
}

/// What a server knows; nothing when it says that there is no such name.
fn ask(server: SocketAddr, name: &str) -> io::Result<Option<Vec<IpAddr>>> {
    let query = query(name).ok_or_else(|| io::Error::other("the name is malformed"))?;
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
    };
    let socket = UdpSocket::bind(local)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(&query)?;
    let mut answer = vec![0; MAX_ANSWER];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    let truncated = answer.get(2).is_some_and(|flags| flags & 2 != 0);
    if truncated {
        answer = ask_over_tcp(server, &query)?;
    }
    read_answer(&query, &answer).ok_or_else(|| io::Error::other("its answer is malformed"))
}

fn ask_over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A question for A records, recursion desired.
fn query(name: &str) -> Option<Vec<u8>> {
    let number = std::process::id().to_be_bytes();
    let mut query = vec![
        *number.get(2)?,
        *number.get(3)?,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..64).contains(length))?;
        query.push(length);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    Some(query)
}

/// The outer nothing: malformed. The inner one: no such name.
fn read_answer(query: &[u8], answer: &[u8]) -> Option<Option<Vec<IpAddr>>> {
    if answer.get(..2)? != query.get(..2)? || answer.get(2)? & 0x80 == 0 {
        return None;
    }
    match answer.get(3)? & 0x0f {
        0 => {}
        3 => return Some(None),
        _ => return None,
    }
    let count = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let mut at = query.len();
    let mut found = Vec::new();
    for _ in 0..count {
        at = after_name(answer, at)?;
        let fixed = answer.get(at..at + 10)?;
        let length = usize::from(u16::from_be_bytes([*fixed.get(8)?, *fixed.get(9)?]));
        at += 10;
        let content = answer.get(at..at + length)?;
        if let (Some([0, 1, 0, 1]), Ok(address)) = (fixed.get(..4), <[u8; 4]>::try_from(content)) {
            found.push(IpAddr::V4(Ipv4Addr::from(address)));
        }
        at += length;
    }
    Some(Some(found))
}

fn after_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_aliases_and_pointers() {
        let query = query("web").unwrap();
        let mut answer = query.clone();
        (answer[2], answer[7]) = (0x81, 2);
        answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 3, 1, b'x', 0]);
        answer.extend_from_slice(&[1, b'x', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 7]);
        let found = read_answer(&query, &answer).unwrap().unwrap();
        assert_eq!(found, [IpAddr::from([10, 0, 0, 7])]);
        answer[3] = 3;
        assert_eq!(read_answer(&query, &answer), Some(None));
        answer[3] = 0;
        for length in 0..answer.len() {
            assert!(read_answer(&query, &answer[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn files_are_read() {
        let hosts = "127.0.0.1 localhost\n10.0.0.2 Task web # old\n";
        assert_eq!(listed(hosts, "web"), [IpAddr::from([10, 0, 0, 2])]);
        assert_eq!(servers("search x\nnameserver 127.0.0.11\n")[0].port(), 53);
    }
}
