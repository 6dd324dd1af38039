//! Settings of one namespace below `/proc/sys/net`. The calling thread must be inside that namespace.

use std::fs;
use std::io;
use std::path::Path;

/// Writes a setting unless it has that value; one the kernel does not know is skipped, because bridge-nf-call
/// only exists while its module is loaded, and then it is off.
pub(super) fn write(key: &str, value: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys/net").join(key);
    match fs::read_to_string(&path) {
        // The kernel separates several numbers by tabs.
        Ok(now) if now.split_whitespace().eq(value.split_whitespace()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => fs::write(&path, value),
    }
}
