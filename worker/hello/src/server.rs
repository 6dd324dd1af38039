//! The HTTP server.
//!
//! A thread serves one connection at a time. There is one thread more than connections, up to a bound;
//! further connections wait in the kernel's queue until one is done or has been silent for too long.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::addresses;

/// The most connections served at once.
const THREADS: usize = 128;
/// They need little.
const STACK: usize = 64 << 10;
/// A connection that is silent for so long makes room.
const SILENCE: Duration = Duration::from_secs(5);
/// The most bytes of a request's head.
const HEAD: u64 = 16 << 10;

struct Server {
    listener: TcpListener,
    hostname: String,
    threads: AtomicUsize,
    idle: AtomicUsize,
}

/// Listens on `port`, on every address, and serves until the program is ended.
pub fn serve(port: u16) -> Result<(), String> {
    // One socket for both families; a container without IPv6 has only the other.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| {
            TcpListener::bind(("0.0.0.0".parse::<IpAddr>().map_err(io::Error::other)?, port))
        })
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let server = Arc::new(Server {
        listener,
        hostname: hostname(),
        threads: AtomicUsize::new(1),
        idle: AtomicUsize::new(0),
    });
    accept(&server);
    Ok(())
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn accept(server: &Arc<Server>) {
    loop {
        server.idle.fetch_add(1, Ordering::SeqCst);
        let accepted = server.listener.accept();
        let others = server.idle.fetch_sub(1, Ordering::SeqCst);
        if others <= 1 {
            start_another(server);
        }
        if let Ok((stream, client)) = accepted {
            // A client that goes away in the middle is its own affair.
            let _ = converse(server, &stream, client);
        }
    }
}

fn start_another(server: &Arc<Server>) {
    let more = |threads: usize| (threads < THREADS).then_some(threads + 1);
    let counted = server
        .threads
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    if counted.is_err() {
        return;
    }
    let own = Arc::clone(server);
    let started = thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || accept(&own));
    if started.is_err() {
        server.threads.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers one request after the other.
fn converse(server: &Server, stream: &TcpStream, client: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(2048, stream);
    while let Some(request) = read_head(&mut reader)? {
        let mut output = stream;
        output.write_all(answer(server, client, &request).as_bytes())?;
        if !request.keep {
            break;
        }
    }
    Ok(())
}

struct Request {
    /// `GET /path`.
    line: String,
    head_only: bool,
    keep: bool,
}

fn read_head(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or("-"), words.next().unwrap_or("-"));
    let mut request = Request {
        line: format!("{method} {path}"),
        head_only: method == "HEAD",
        keep: words.next() == Some("HTTP/1.1"),
    };
    let mut body = 0;
    loop {
        let mut header = String::new();
        if head.read_line(&mut header)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "connection" => {
                let value = value.trim().to_ascii_lowercase();
                request.keep = value != "close" && (request.keep || value == "keep-alive");
            }
            "content-length" => body = value.trim().parse().unwrap_or(0),
            "transfer-encoding" => request.keep = false,
            _ => {}
        }
    }
    io::copy(&mut reader.by_ref().take(body), &mut io::sink())?;
    Ok(Some(request))
}

fn answer(server: &Server, client: SocketAddr, request: &Request) -> String {
    let mut body = format!("hostname: {}\n", server.hostname);
    for address in addresses::own() {
        body.push_str(&format!("address: {address}\n"));
    }
    let (address, port) = (client.ip().to_canonical(), client.port());
    body.push_str(&format!(
        "client: {address}\nclient port: {port}\nrequest: {}\n",
        request.line
    ));
    let length = body.len();
    let connection = if request.keep { "keep-alive" } else { "close" };
    let shown = if request.head_only { "" } else { body.as_str() };
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: {connection}\r\n\r\n{shown}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Server {
            listener,
            hostname: "task-1".to_owned(),
            threads: AtomicUsize::new(1),
            idle: AtomicUsize::new(0),
        });
        thread::spawn(move || accept(&server));
        address
    }

    #[test]
    fn it_says_who_it_is_and_who_asked() {
        let address = start();
        let body = crate::request::get(&format!("http://{address}/who")).unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(body.starts_with("hostname: task-1\n"), "{body}");
        assert!(body.contains("\nclient: 127.0.0.1\n"), "{body}");
        assert!(body.ends_with("request: GET /who\n"), "{body}");
    }

    #[test]
    fn a_connection_serves_many_requests() {
        let mut stream = TcpStream::connect(start()).unwrap();
        stream
            .write_all(b"HEAD / HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc")
            .unwrap();
        stream
            .write_all(b"GET /c HTTP/1.1\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert_eq!(all.matches("200 OK").count(), 3);
        assert!(!all.contains("request: HEAD"), "{all}");
        assert!(
            all.contains("request: POST /b") && all.contains("request: GET /c"),
            "{all}"
        );
    }

    #[test]
    fn silent_connections_keep_nobody_waiting() {
        let address = start();
        let silent: Vec<_> = (0..50)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        assert!(crate::request::get(&format!("http://{address}/")).is_ok());
        drop(silent);
    }
}
