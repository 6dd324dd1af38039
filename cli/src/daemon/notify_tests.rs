use std::sync::mpsc;

use super::*;

/// Longer than any machine takes; a test that is right never waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service manager's socket, and where it is.
fn manager() -> (tempfile::TempDir, UnixDatagram, OsString) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (directory, socket, path.into())
}

fn heard(socket: &UnixDatagram) -> String {
    let mut message = [0; 200];
    let length = socket.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[test]
fn a_service_manager_hears_when_the_daemon_is_ready_and_when_it_ends() {
    let (_directory, socket, path) = manager();
    let notifier = Notifier::open(Some(path), None);
    notifier.ready();
    assert!(heard(&socket).starts_with("READY=1\n"));
    notifier.stopping();
    assert!(heard(&socket).starts_with("STOPPING=1\n"));
}

#[test]
fn an_abstract_socket_is_found() {
    let name = format!("skep-notify-{}", std::process::id());
    let at = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Notifier::open(Some(format!("@{name}").into()), None).ready();
    assert!(heard(&socket).starts_with("READY=1\n"));
}

#[test]
fn nobody_to_tell_is_no_trouble() {
    let watchdog = Some(Duration::from_millis(1));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for socket in [None, Some("".into()), Some("/nowhere/notify".into())] {
        Notifier::open(socket, watchdog).ready();
    }
    // Ends, as there is nobody to be told for ever.
    runtime.block_on(Notifier::open(None, watchdog).keep_alive());
    let (_directory, _socket, path) = manager();
    runtime.block_on(Notifier::open(Some(path), None).keep_alive());
}

#[test]
fn signs_of_life_end_when_the_runtime_is_stuck() {
    let (_directory, socket, path) = manager();
    let watchdog = Duration::from_millis(20);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let notifier = Notifier::open(Some(path), Some(watchdog));
    runtime.spawn(notifier.keep_alive());
    assert_eq!(heard(&socket), "WATCHDOG=1");
    assert_eq!(heard(&socket), "WATCHDOG=1");

    let (stuck, is_stuck) = mpsc::channel();
    let (free, is_free) = mpsc::channel::<()>();
    runtime.spawn(async move {
        stuck.send(()).unwrap();
        is_free.recv().unwrap();
    });
    is_stuck.recv_timeout(PATIENCE).unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 200]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(watchdog * 5)).unwrap();
    let silence = socket.recv(&mut [0; 200]).unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);

    free.send(()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(heard(&socket), "WATCHDOG=1");
}
