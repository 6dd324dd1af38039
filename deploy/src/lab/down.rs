//! Ends a lab in whatever state it is: processes by their cgroups, then cgroups, then files.
//!
//! It needs the lab's name and nothing else, so that an interrupted `up` can always be cleaned.

use std::fs;
use std::io;
use std::path::Path;

use super::cgroups;
use super::error::LabError;
use super::record::Place;

pub(crate) fn down(place: &Place) -> Result<(), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    if !place.run.exists() && !place.store.exists() {
        return Err(LabError::NoLab {
            name: place.name.clone(),
        });
    }
    let _lock = place.lock()?;
    clear(place)
}

/// Like [`down`], for a caller that holds the lock.
pub(crate) fn clear(place: &Place) -> Result<(), LabError> {
    // Those of the record, and those mounted since.
    let mut hierarchies = place
        .read()
        .map(|record| record.hierarchies)
        .unwrap_or_default();
    for found in cgroups::mounted()? {
        if !hierarchies.contains(&found) {
            hierarchies.push(found);
        }
    }
    cgroups::clear(&hierarchies, &place.name, None)?;
    remove(&place.store)?;
    remove(&place.run)?;
    // The roots stay while other labs use them.
    let _ = fs::remove_dir(&place.store_root);
    let _ = fs::remove_dir(&place.run_root);
    Ok(())
}

fn remove(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(LabError::io(format!("remove {}", path.display()))(e))
        }
        _ => Ok(()),
    }
}
