//! Asks an HTTP server, by name or address.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::names;

/// For connecting, and for each answer to go on.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MAX_ANSWER: u64 = 16 << 20;

/// The body of what a server answers; anything but success is an error.
pub fn get(url: &str) -> Result<Vec<u8>, String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("\"{url}\" does not begin with http://"))?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let (host, port) = host_and_port(authority)?;
    let mut reason = format!("{host} has no address");
    for address in names::resolve(host)? {
        match ask(SocketAddr::new(address, port), authority, path) {
            Ok(answer) => return body(url, answer),
            Err(error) => reason = format!("cannot ask {address} port {port}: {error}"),
        }
    }
    Err(reason)
}

fn host_and_port(authority: &str) -> Result<(&str, u16), String> {
    let bad = || format!("\"{authority}\" is not HOST or HOST:PORT");
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
        let port = rest.strip_prefix(':').map_or(Ok(80), str::parse);
        return Ok((host, port.map_err(|_| bad())?));
    }
    match authority.split_once(':') {
        Some((host, port)) => Ok((host, port.parse().map_err(|_| bad())?)),
        None => Ok((authority, 80)),
    }
}

fn ask(address: SocketAddr, authority: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

fn body(url: &str, mut answer: Vec<u8>) -> Result<Vec<u8>, String> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| format!("{url} did not answer in HTTP"))?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer);
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(body),
        _ => Err(format!("{url} answered {status}")),
    }
}

/// Whether a text is an address already.
pub fn as_address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn authorities_are_taken_apart() {
        assert_eq!(host_and_port("web"), Ok(("web", 80)));
        assert_eq!(host_and_port("web:8080"), Ok(("web", 8080)));
        assert_eq!(host_and_port("[fd00::1]:81"), Ok(("fd00::1", 81)));
        assert!(host_and_port("web:none").is_err());
    }
}
