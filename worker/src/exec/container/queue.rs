//! Connections that a container's programs have not accepted yet, from the kernel's table of sockets.

use std::fs;
use std::path::PathBuf;

/// A socket that listens, as the kernel writes its state.
const LISTENS: &str = "0A";
/// A connection whose handshake is under way.
const GREETS: &str = "03";

/// How many wait in the network namespace of a process. A process that is gone has none. Blocks shortly.
pub(super) fn of_process(pid: i32) -> usize {
    let tables = ["tcp", "tcp6"].map(|name| PathBuf::from(format!("/proc/{pid}/net/{name}")));
    let read = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    read.fold(0, |sum, table| sum.saturating_add(waiting(&table)))
}

/// How many wait by a table as `/proc/net/tcp`: for a socket that listens, the receive queue counts connections
/// (proc(5)).
fn waiting(table: &str) -> usize {
    let rows = table.lines().skip(1);
    let waiting = rows.map(|row| {
        let mut columns = row.split_whitespace().skip(3);
        match (columns.next(), columns.next()) {
            (Some(LISTENS), Some(queues)) => queues
                .split_once(':')
                .and_then(|(_, received)| usize::from_str_radix(received, 16).ok())
                .unwrap_or_default(),
            (Some(GREETS), _) => 1,
            _ => 0,
        }
    });
    waiting.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_says_how_many_wait_and_handshakes_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 00000000:0050 00000000:0000 0A 00000000:0000000B 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0\n   \
             1: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0\n   \
             2: 0500A8C0:0050 0100A8C0:9C40 03 00000000:00000000 01:00000064 00000000     0        0 0 1 0\n   \
             3: 0500A8C0:0050 0100A8C0:9C42 01 00000000:000000FF 00:00000000 00000000     0        0 14 1 0 20 4 30 10 -1\n";
        assert_eq!(waiting(table), 12);
        assert_eq!(waiting(""), 0);
        assert_eq!(waiting("header\n garbage 0A\n x x x 0A zz\n"), 0);
    }

    #[test]
    fn the_kernel_counts_who_was_not_accepted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients = [(); 3].map(|()| std::net::TcpStream::connect(address).unwrap());
        let port = format!(":{:04X} ", address.port());
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        // Other tests have sockets of their own; the first line is the heading.
        let own = |line: &&str| line.contains(&port) && line.contains(" 0A ");
        let rows: Vec<&str> = table.lines().filter(own).collect();
        assert_eq!(waiting(&format!("heading\n{}\n", rows.join("\n"))), 3);
        drop(clients);
    }
}
