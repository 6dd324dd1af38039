//! What a manager has stored on this node, once it is none any more.
//!
//! Its log goes when the cluster has agreed to go on without it. Where the cluster went on without asking, restored or
//! forced, the log may be the only one with what happened last: it is kept beside, and nobody but the user removes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// In a directory that is to be kept.
const MARK: &str = "keep";
/// So many are kept beside each other.
const MOST: u32 = 100;

/// Marks what is in `directory` as to be kept; it outlives a power cut.
///
/// # Errors
/// What the system says, with the path.
pub(super) fn keep(directory: &Path) -> anyhow::Result<()> {
    let marked = File::create(directory.join(MARK)).and_then(|mark| {
        mark.sync_all()?;
        File::open(directory)?.sync_all()
    });
    marked.with_context(|| format!("cannot mark {}", directory.display()))
}

/// Makes room where `directory` is: it is removed, or moved aside where it is to be kept.
///
/// # Errors
/// What the system says, with the path.
pub(super) fn clear(directory: &Path) -> anyhow::Result<()> {
    if !directory.join(MARK).exists() {
        return remove(directory);
    }
    let aside = aside(directory)?;
    fs::rename(directory, &aside)
        .with_context(|| format!("cannot move {} aside", directory.display()))?;
    tracing::warn!(
        kept = %aside.display(),
        "the cluster was restored, or forced to go on, without this manager; what it had stored is kept until you \
         remove it"
    );
    Ok(())
}

/// Removes `directory`; nothing happens where there is none.
///
/// # Errors
/// What the system says, with the path.
pub(super) fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The first name beside `directory` that is free.
fn aside(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut names = (1..=MOST).map(|number| directory.with_extension(format!("kept-{number}")));
    match names.find(|path| !path.exists()) {
        Some(free) => Ok(free),
        None => bail!(
            "{MOST} directories are kept beside {} already; remove those you do not need",
            directory.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(root: &Path, content: &str) -> PathBuf {
        let directory = root.join("manager");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("log"), content).unwrap();
        directory
    }

    #[test]
    fn what_is_to_be_kept_is_moved_aside_and_all_else_goes() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        clear(&root.join("manager")).unwrap();
        for content in ["first", "second"] {
            let directory = manager(root, content);
            keep(&directory).unwrap();
            keep(&directory).unwrap();
            clear(&directory).unwrap();
            assert!(!directory.exists());
        }
        let directory = manager(root, "third");
        clear(&directory).unwrap();
        assert!(!directory.exists());
        let kept = |number| fs::read_to_string(root.join(format!("manager.kept-{number}/log")));
        assert_eq!(kept(1).unwrap(), "first");
        assert_eq!(kept(2).unwrap(), "second");
        assert!(kept(3).is_err());
    }
}
