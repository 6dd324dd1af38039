//! An image's files as a container would see them, without a container.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

/// Opens the root of an image whose layers these are, the topmost first. It is mounted nowhere. `scratch` is where
/// an empty directory may be made for a moment.
pub(super) fn open(layers: &[PathBuf], scratch: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match layers {
        [] => Err(std::io::Error::other("the image has no layer")),
        [only] => Ok(rustix::fs::open(only, flags, Mode::empty())?),
        layers => match detached(layers) {
            // Kernels before 6.7 do not take layers one by one.
            Err(Errno::INVAL) => by_path(layers, scratch),
            other => Ok(other?),
        },
    }
}

fn detached(layers: &[PathBuf]) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers {
        fsconfig_set_string(&context, "lowerdir+", layer)?;
    }
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}

/// Mounts it for a moment: what is open stays usable after it is gone.
fn by_path(layers: &[PathBuf], scratch: &Path) -> std::io::Result<OwnedFd> {
    let at = scratch.join(format!(".view-{:032x}", rand::random::<u128>()));
    fs::DirBuilder::new().mode(0o700).create(&at)?;
    let shown: Vec<_> = layers.iter().map(|layer| layer.to_string_lossy()).collect();
    let options = format!("lowerdir={}", shown.join(":"));
    let flags = MsFlags::MS_RDONLY;
    let mounted = nix::mount::mount(
        Some("overlay"),
        &at,
        Some("overlay"),
        flags,
        Some(&*options),
    );
    let opened = mounted.map_err(std::io::Error::from).and_then(|()| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&at, flags, Mode::empty());
        umount2(&at, MntFlags::MNT_DETACH)?;
        Ok(opened?)
    });
    fs::remove_dir(&at)?;
    opened
}
