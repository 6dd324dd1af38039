//! A client of few words: one DNS question, one HTTP request. It stands in for programs that the
//! machine may not have, and asks from whatever network the calling thread is in.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail};

/// The resolver of every container.
const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);
const LIMIT: Duration = Duration::from_secs(2);
/// More than the built-in image ever says.
const LONGEST: u64 = 64 * 1024;
const QUESTION: u16 = 0x5bee;

/// The body of `GET /`.
///
/// # Errors
/// When nobody answers in time, or not with 200.
pub fn get(at: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    bail!("the answer is {status}")
}

/// The first address of a name, from the container's own resolver.
///
/// # Errors
/// When it does not answer, or knows no address.
pub fn resolve(name: &str) -> anyhow::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket
        .send_to(&question(name)?, RESOLVER)
        .context("ask 127.0.0.11")?;
    let mut answer = [0; 1500];
    let (length, _) = socket
        .recv_from(&mut answer)
        .context("wait for 127.0.0.11")?;
    first_address(answer.get(..length).unwrap_or_default())
        .with_context(|| format!("127.0.0.11 knows no address of {name}"))
}

/// A question for type A, class IN (RFC 1035, 4.1).
fn question(name: &str) -> anyhow::Result<Vec<u8>> {
    let mut message = QUESTION.to_be_bytes().to_vec();
    // Recursion desired; one question, nothing else.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len())?);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    Ok(message)
}

/// The first A record among the answers.
fn first_address(message: &[u8]) -> Option<Ipv4Addr> {
    let word = |at: usize| {
        Some(u16::from_be_bytes([
            *message.get(at)?,
            *message.get(at + 1)?,
        ]))
    };
    let answers = word(6)?;
    // The question: its name, type and class.
    let mut at = after_name(message, 12)? + 4;
    for _ in 0..answers {
        let record = after_name(message, at)?;
        let length = usize::from(word(record + 8)?);
        if word(record)? == 1 && length == 4 {
            let bytes: [u8; 4] = message.get(record + 10..record + 14)?.try_into().ok()?;
            return Some(Ipv4Addr::from(bytes));
        }
        at = record + 10 + length;
    }
    None
}

/// Where a name ends: at its root, or at a pointer, which is its last part.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_an_answer_is_found() {
        let mut message = question("web").unwrap();
        message[7] = 2;
        message.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 1, 2]);
        assert_eq!(first_address(&message), Some(Ipv4Addr::new(10, 0, 1, 2)));
    }

    #[test]
    fn a_cut_answer_gives_nothing() {
        let mut message = question("web").unwrap();
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0]);
        assert_eq!(first_address(&message), None);
    }
}
