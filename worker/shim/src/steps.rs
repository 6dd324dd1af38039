//! The child's mounts: the root, and each step of the plan below it.
//!
//! Runs between clone and exec, so it never allocates. Every target is resolved below the root's
//! descriptor, whatever links the image holds.

use crate::kernel::mount::{self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC};
use crate::kernel::mount::{MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use crate::kernel::{self, Errno, identity};
use crate::report::{Act, During, Fault};
use skep_shim::plan::{Root, Step};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const PATH_LIMIT: usize = 4096;
/// Binds of one container that stay tied to the host's mounts; the daemon refuses more.
const TIED_LIMIT: usize = skep_shim::plan::MOST_TIED;

/// Mounts the root in this namespace and returns a descriptor of it.
pub fn mount_root(root: &Root, overlay_options: &CStr) -> Result<OwnedFd, Fault> {
    match root {
        Root::Directory(path) => {
            let copy = mount::copy(path, true).during(Act::OpenRoot)?;
            attach_at(copy.as_fd(), path)?;
            kernel::open(path, libc::O_PATH | libc::O_DIRECTORY).during(Act::OpenRoot)
        }
        Root::Overlay {
            lower,
            upper,
            work,
            at,
        } => {
            match new_overlay(lower, upper, work) {
                Ok(mounted) => attach_at(mounted.as_fd(), at)?,
                // Kernels before 6.7 do not take layers one by one.
                Err(Errno(libc::EINVAL)) => {
                    mount::mount_overlay(at, overlay_options).during(Act::MountRoot)?;
                }
                Err(errno) => return Err(errno).during(Act::MountRoot),
            }
            kernel::open(at, libc::O_PATH | libc::O_DIRECTORY).during(Act::OpenRoot)
        }
    }
}

fn new_overlay(lower: &[std::ffi::CString], upper: &CStr, work: &CStr) -> kernel::Result<OwnedFd> {
    let context = mount::begin(c"overlay")?;
    for layer in lower {
        mount::configure(context.as_fd(), c"lowerdir+", Some(layer))?;
    }
    mount::configure(context.as_fd(), c"upperdir", Some(upper))?;
    mount::configure(context.as_fd(), c"workdir", Some(work))?;
    mount::finish(context.as_fd(), 0)
}

fn attach_at(mounted: BorrowedFd<'_>, path: &CStr) -> Result<(), Fault> {
    let at = kernel::open(path, libc::O_PATH | libc::O_DIRECTORY).during(Act::OpenRoot)?;
    mount::attach(mounted, at.as_fd()).during(Act::MountRoot)
}

/// Copies of mounts that were made while they were still tied to those of the host, by the number of their step.
pub struct Tied([Option<(u32, OwnedFd)>; TIED_LIMIT]);

/// Copies the sources of binds that are to stay tied to the host's mounts. It has to happen before the
/// namespace is cut off.
pub fn copy_tied(steps: &[Step]) -> Result<Tied, Fault> {
    let mut tied = Tied([const { None }; TIED_LIMIT]);
    let mut free = tied.0.iter_mut();
    for (number, step) in (0_u32..).zip(steps) {
        let Step::Bind { propagation, .. } = step else {
            continue;
        };
        if *propagation == libc::MS_PRIVATE {
            continue;
        }
        let at = |fault: Fault| Fault {
            step: Some(number),
            ..fault
        };
        let too_many = Err(Errno(libc::E2BIG)).during(Act::OpenSource).map_err(at);
        let Some(place) = free.next() else {
            return too_many;
        };
        *place = Some((number, copy_source(step).map_err(at)?));
    }
    Ok(tied)
}

impl Tied {
    fn take(&mut self, number: u32) -> Option<OwnedFd> {
        let is_it = |place: &&mut Option<(u32, OwnedFd)>| {
            place.as_ref().is_some_and(|(known, _)| *known == number)
        };
        let found = self.0.iter_mut().find(is_it)?.take();
        found.map(|(_, fd)| fd)
    }
}

fn copy_source(step: &Step) -> Result<OwnedFd, Fault> {
    let Step::Bind {
        source,
        below,
        recursive,
        ..
    } = step
    else {
        return Err(Errno(libc::EINVAL)).during(Act::OpenSource);
    };
    let Some(below) = below else {
        return mount::copy(source, *recursive).during(Act::OpenSource);
    };
    let whole = kernel::open(source, libc::O_PATH | libc::O_DIRECTORY).during(Act::OpenSource)?;
    let part = mount::open_in(whole.as_fd(), below, libc::O_PATH, 0).during(Act::OpenSource)?;
    mount::copy_of(part.as_fd(), *recursive).during(Act::OpenSource)
}

/// Follows one step.
pub fn follow(
    root: BorrowedFd<'_>,
    number: u32,
    step: &Step,
    tied: &mut Tied,
) -> Result<(), Fault> {
    match step {
        Step::Mount {
            kind,
            options,
            attributes,
            target,
        } => {
            let at = mount_point(root, target, true)?;
            let context = mount::begin(kind).during(Act::NewFileSystem)?;
            for (key, value) in options {
                mount::configure(context.as_fd(), key, value.as_deref()).during(Act::Configure)?;
            }
            let made = mount::finish(context.as_fd(), *attributes).during(Act::NewFileSystem)?;
            mount::attach(made.as_fd(), at.as_fd()).during(Act::Attach)
        }
        Step::Bind {
            recursive,
            attributes,
            propagation,
            propagation_recursive,
            directory,
            target,
            ..
        } => {
            let copy = match tied.take(number) {
                Some(copy) => copy,
                None => copy_source(step)?,
            };
            if propagation_recursive == recursive {
                mount::change(copy.as_fd(), *attributes, *propagation, *recursive)
                    .during(Act::Change)?;
            } else {
                mount::change(copy.as_fd(), *attributes, 0, *recursive).during(Act::Change)?;
                mount::change(copy.as_fd(), 0, *propagation, *propagation_recursive)
                    .during(Act::Change)?;
            }
            let at = mount_point(root, target, *directory)?;
            mount::attach(copy.as_fd(), at.as_fd()).during(Act::Attach)
        }
        Step::Node {
            target,
            mode,
            device,
            uid,
            gid,
        } => in_parent(root, target, |parent, name| {
            mount::make_node(parent, name, *mode, *device)?;
            if (*uid, *gid) == (0, 0) {
                Ok(())
            } else {
                mount::own(parent, name, *uid, *gid)
            }
        }),
        Step::Symlink { target, text } => in_parent(root, target, |parent, name| {
            mount::make_link(parent, name, text)
        }),
        Step::Mask(path) => mask(root, path),
        Step::ReadOnly(path) => read_only(root, path),
        Step::Seal(path) => {
            let at = mount::open_in(root, path, libc::O_PATH, 0).during(Act::OpenTarget)?;
            mount::change(at.as_fd(), MOUNT_ATTR_RDONLY, 0, false).during(Act::Change)
        }
        Step::Sysctl { target, value } => {
            let file = mount::open_in(root, target, libc::O_WRONLY, 0).during(Act::OpenTarget)?;
            kernel::write(file.as_fd(), value.to_bytes()).during(Act::Write)
        }
        Step::Hostname(name) => identity::set_hostname(name).during(Act::Name),
        Step::Domainname(name) => identity::set_domainname(name).during(Act::Name),
    }
}

fn mask(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Fault> {
    let Some(at) = existing(root, path)? else {
        return Ok(());
    };
    let cover = if mount::is_directory(at.as_fd()).during(Act::OpenTarget)? {
        let locked = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        let context = mount::begin(c"tmpfs").during(Act::NewFileSystem)?;
        mount::finish(context.as_fd(), locked).during(Act::NewFileSystem)?
    } else {
        // The host's own node: nothing of the image can stand in for it.
        mount::copy(c"/dev/null", false).during(Act::OpenSource)?
    };
    mount::attach(cover.as_fd(), at.as_fd()).during(Act::Attach)
}

fn read_only(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Fault> {
    let Some(at) = existing(root, path)? else {
        return Ok(());
    };
    let copy = mount::copy_of(at.as_fd(), true).during(Act::OpenSource)?;
    mount::change(copy.as_fd(), MOUNT_ATTR_RDONLY, 0, true).during(Act::Change)?;
    mount::attach(copy.as_fd(), at.as_fd()).during(Act::Attach)
}

fn existing(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Fault> {
    match mount::open_in(root, path, libc::O_PATH, 0) {
        Ok(found) => Ok(Some(found)),
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(errno) => Err(errno).during(Act::OpenTarget),
    }
}

/// Opens a mount point, making it (and what leads to it) where it is missing.
fn mount_point(root: BorrowedFd<'_>, path: &CStr, directory: bool) -> Result<OwnedFd, Fault> {
    if let Some(found) = existing(root, path)? {
        return Ok(found);
    }
    if directory {
        return make_directories(root, path);
    }
    in_parent(root, path, |_, _| {
        mount::open_in(root, path, libc::O_CREAT | libc::O_RDONLY, 0o644).map(|_| ())
    })?;
    mount::open_in(root, path, libc::O_PATH, 0).during(Act::OpenTarget)
}

/// Makes a directory below the root and all that lead to it.
pub fn make_directories(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Fault> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let bytes = path.to_bytes();
    let mut parent = mount::open_in(root, c"/", flags, 0).during(Act::MakeTarget)?;
    let mut end = 0;
    while end < bytes.len() {
        let start = end
            + bytes[end..]
                .iter()
                .take_while(|byte| **byte == b'/')
                .count();
        end = start
            + bytes[start..]
                .iter()
                .take_while(|byte| **byte != b'/')
                .count();
        if start == end {
            break;
        }
        let mut whole = [0; PATH_LIMIT];
        let mut name = [0; PATH_LIMIT];
        let prefix = terminated(&mut whole, &bytes[..end]).during(Act::MakeTarget)?;
        let name = terminated(&mut name, &bytes[start..end]).during(Act::MakeTarget)?;
        parent = match mount::open_in(root, prefix, flags, 0) {
            Err(Errno(libc::ENOENT)) => {
                mount::make_directory(parent.as_fd(), name, 0o755).during(Act::MakeTarget)?;
                mount::open_in(root, prefix, flags, 0)
            }
            other => other,
        }
        .during(Act::MakeTarget)?;
    }
    Ok(parent)
}

/// Acts on a path's parent directory and last name. That the name is taken is no error.
fn in_parent(
    root: BorrowedFd<'_>,
    path: &CStr,
    act: impl FnOnce(BorrowedFd<'_>, &CStr) -> kernel::Result<()>,
) -> Result<(), Fault> {
    let bytes = path.to_bytes();
    let cut = bytes
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (mut leading, mut last) = ([0; PATH_LIMIT], [0; PATH_LIMIT]);
    let leading = terminated(&mut leading, &bytes[..cut]).during(Act::MakeTarget)?;
    let name = terminated(&mut last, &bytes[cut..]).during(Act::MakeTarget)?;
    let parent = make_directories(root, leading)?;
    match act(parent.as_fd(), name) {
        Err(Errno(libc::EEXIST)) => Ok(()),
        other => other.during(Act::MakeTarget),
    }
}

fn terminated<'b>(buffer: &'b mut [u8; PATH_LIMIT], bytes: &[u8]) -> kernel::Result<&'b CStr> {
    let too_long = Errno(libc::ENAMETOOLONG);
    if bytes.len() >= PATH_LIMIT {
        return Err(too_long);
    }
    buffer[..bytes.len()].copy_from_slice(bytes);
    CStr::from_bytes_until_nul(buffer).map_err(|_| too_long)
}
