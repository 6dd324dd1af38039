#![expect(unsafe_code, reason = "installs signal handlers")]
//! Ends the program at once when it is asked to. As first process of a container it would otherwise never
//! notice: the kernel gives such a one no default action.

extern "C" fn end(_signal: libc::c_int) {
    // SAFETY: _exit may be called in a signal handler; there is nothing to put in order.
    unsafe { libc::_exit(0) }
}

/// SIGTERM and SIGINT end it with 0.
pub fn end_on_request() {
    let handler: extern "C" fn(libc::c_int) = end;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler does only what a handler may, and stays for the program's life.
        unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
    }
}
