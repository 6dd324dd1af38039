//! One daemon for each data root.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};

/// Makes the directory and takes its lock, which is held as long as the value lives.
///
/// # Errors
/// When another daemon has it, or the directory cannot be made.
pub fn take(data_root: &Path) -> anyhow::Result<Flock<File>> {
    fs::create_dir_all(data_root)
        .with_context(|| format!("cannot make the data root {}", data_root.display()))?;
    let path = data_root.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => bail!(
            "another daemon is running on {}; stop it first, or start this one with another --data-root and \
             --exec-root",
            data_root.display()
        ),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_on_one_data_root_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path()).unwrap();
        let error = take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("--data-root"), "{error}");
        drop(first);
        take(dir.path()).unwrap();
    }
}
