//! Images of real programs, made of Debian's packages by Debian's umoci and skopeo.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;

/// Where a container's program leaves what it has to say.
const NGINX: &str = "daemon off;
user root;
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  server { listen 80; location / { default_type text/plain; root /srv; } }
}
";

/// Makes its database where there is none.
const POSTGRES: &str = "#!/bin/sh
set -e
bin=/usr/lib/postgresql/15/bin
test -s /rows/PG_VERSION || $bin/initdb -D /rows --auth=trust --no-locale -E UTF8
exec $bin/postgres -D /rows -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off
";

/// The user of PostgreSQL in its image.
const OWNER: u32 = 100;

/// A layout of images on disk, with the programs that change it.
pub struct Layout {
    files: tempfile::TempDir,
}

impl Layout {
    /// With one image, `base`, of these packages.
    ///
    /// # Panics
    /// When packages cannot be had or a program fails, as everything here.
    pub fn new(packages: &[&str]) -> Self {
        let files = tempfile::tempdir_in(packages::cache()).expect("a directory for a layout");
        let layout = Self { files };
        umoci(&["init", "--layout", text(&layout.layout())]);
        umoci(&["new", "--image", &layout.tag("base")]);
        layout.insert(&packages::tree(packages), "base", "base", &["/"]);
        layout
    }

    /// A directory for more.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// Where the layout is.
    pub fn layout(&self) -> PathBuf {
        self.path().join("layout")
    }

    /// How programs name the image of a tag.
    pub fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.layout().display())
    }

    /// Gives an image one more tag.
    ///
    /// # Panics
    /// As all here.
    pub fn take(&self, tag: &str, other: &str) {
        umoci(&["tag", "--image", &self.tag(tag), other]);
    }

    fn insert(&self, tree: &Path, from: &str, tag: &str, to: &[&str]) {
        let from = self.tag(from);
        let before = ["insert", "--image", &from, "--tag", tag];
        let (options, place) = to.split_at(to.len() - 1);
        umoci(&[&before, options, &[text(tree)], place].concat());
    }

    /// One more layer for `base`, which then has this tag.
    ///
    /// # Panics
    /// As all here.
    pub fn add(&self, tag: &str, fill: impl FnOnce(&Path)) {
        self.insert(filled(fill).path(), "base", tag, &["/"]);
    }

    /// One more layer for the image of this tag.
    ///
    /// # Panics
    /// As all here.
    pub fn add_to(&self, tag: &str, fill: impl FnOnce(&Path)) {
        self.insert(filled(fill).path(), tag, tag, &["/"]);
    }

    /// One more layer, with a directory of which nothing below it is seen any more.
    ///
    /// # Panics
    /// As all here.
    pub fn add_opaque(&self, tag: &str, place: &str, fill: impl FnOnce(&Path)) {
        self.insert(filled(fill).path(), tag, tag, &["--opaque", place]);
    }

    /// One more layer, which hides a place.
    ///
    /// # Panics
    /// As all here.
    pub fn hide(&self, tag: &str, place: &str) {
        umoci(&["insert", "--image", &self.tag(tag), "--whiteout", place]);
    }

    /// Changes how the image of this tag is run: options of `umoci config`.
    ///
    /// # Panics
    /// As all here.
    pub fn config(&self, tag: &str, options: &[&str]) {
        let image = self.tag(tag);
        umoci(&[&["config", "--image", &image], options].concat());
    }

    /// An archive of the image of this tag, under a name of its own.
    ///
    /// # Panics
    /// As all here.
    pub fn archive(&self, tag: &str, name: &str) -> PathBuf {
        let made = packages::cache().join("images");
        fs::create_dir_all(&made).expect("a directory of images");
        let file = made.join(format!("{}.tar", name.replace([':', '/'], "-")));
        let fresh = self.path().join("archive.tar");
        let target = format!("oci-archive:{}:{name}", fresh.display());
        let from = format!("oci:{}", self.tag(tag));
        run(
            "skopeo",
            &["--insecure-policy", "copy", "-q", &from, &target],
        );
        // Tests side by side make the same.
        fs::rename(fresh, &file).expect("a name for the archive");
        file
    }
}

/// The root directory of a layer.
fn filled(fill: impl FnOnce(&Path)) -> tempfile::TempDir {
    let tree = tempfile::tempdir_in(packages::cache()).expect("a directory for a layer");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(tree.path(), open).expect("a directory for everybody");
    fill(tree.path());
    tree
}

/// Archives of `web:1`, `web:2` and so on: nginx with one page, `page 1` and so on. It is stopped by SIGQUIT, which lets
/// it finish what it began.
///
/// # Panics
/// When packages cannot be had, as everything here.
pub fn nginx(versions: u32) -> Vec<PathBuf> {
    let layout = Layout::new(&["nginx", "nginx-common"]);
    let made = (1..=versions).map(|version| {
        let tag = version.to_string();
        page(&layout, &tag, "80", "/usr/sbin/nginx");
        layout.archive(&tag, &format!("web:{version}"))
    });
    made.collect()
}

/// One page of nginx, `page TAG`.
fn page(layout: &Layout, tag: &str, port: &str, program: &str) {
    layout.add(tag, |tree| {
        let config = NGINX.replace("listen 80", &format!("listen {port}"));
        write(tree, "etc/nginx/nginx.conf", &config);
        write(tree, "srv/index.html", &format!("page {tag}\n"));
        write(tree, "etc/passwd", "root:x:0:0::/:/bin/sh\n");
        write(tree, "etc/group", "root:x:0:\nadm:x:4:\n");
        for place in ["run", "var/log/nginx"] {
            fs::create_dir_all(tree.join(place)).expect("a directory");
        }
    });
    let options = ["--config.cmd", program];
    let stop = ["--config.stopsignal", "SIGQUIT"];
    layout.config(tag, &[options, stop].concat());
}

/// An archive of `redis:7`: the server, which keeps nothing, and its client.
///
/// # Panics
/// As all here.
pub fn redis() -> PathBuf {
    let layout = Layout::new(&["redis-server", "redis-tools"]);
    layout.add("7", |tree| {
        write(tree, "etc/passwd", "root:x:0:0::/:/bin/sh\n")
    });
    let server = [
        "/usr/bin/redis-server",
        "--protected-mode",
        "no",
        "--save",
        "",
    ];
    let words = server.iter().flat_map(|word| ["--config.cmd", word]);
    layout.config("7", &words.collect::<Vec<_>>());
    layout.archive("7", "redis:7")
}

/// An archive of `postgres:15`: the server, which runs as a user of its own and keeps its rows in `/rows`, and `psql`.
///
/// # Panics
/// As all here.
pub fn postgres() -> PathBuf {
    let client = "postgresql-client-15";
    let layout = Layout::new(&["postgresql-15", client, "dash", "coreutils"]);
    layout.add("15", |tree| {
        write(tree, "start", POSTGRES);
        write(tree, "etc/passwd", "postgres:x:100:100::/rows:/bin/sh\n");
        write(tree, "etc/group", "postgres:x:100:\n");
        for (place, mode) in [("rows", 0o700), ("tmp", 0o1777)] {
            let place = tree.join(place);
            fs::create_dir_all(&place).expect("a directory");
            chown(&place, Some(OWNER), Some(OWNER)).expect("an owner");
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("a mode");
        }
    });
    let options = ["--config.user", "postgres", "--config.cmd", "/start"];
    // PostgreSQL's fast shutdown: clients are sent away.
    let stop = ["--config.stopsignal", "SIGINT"];
    let path = ["--config.env", "PATH=/usr/bin:/bin"];
    layout.config("15", &[&options[..], &stop, &path].concat());
    layout.archive("15", "postgres:15")
}

/// A file that anybody may run, below the root directory of a layer.
///
/// # Panics
/// When it cannot be written.
pub fn write(tree: &Path, path: &str, content: &str) {
    let path = tree.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(&path, content).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn umoci(args: &[&str]) {
    run("umoci", args);
}

/// Runs a program of the package of its name, with that package's libraries.
///
/// # Panics
/// When it fails, with what it said.
pub fn run(package: &str, args: &[&str]) {
    let tree = packages::tree(&[package]);
    let machine = std::env::consts::ARCH.replace('_', "-");
    let loader = match std::env::consts::ARCH {
        "aarch64" => tree.join("lib/ld-linux-aarch64.so.1"),
        _ => tree.join(format!("lib64/ld-linux-{machine}.so.2")),
    };
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = ["lib", "usr/lib"].map(|place| tree.join(place).join(&triple));
    let mut command = Command::new(loader);
    command.arg("--library-path");
    command.arg(format!("{}:{}", text(&libraries[0]), text(&libraries[1])));
    command.arg(tree.join("usr/bin").join(package)).args(args);
    let output = command.output().expect("a program of Debian's starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{package} {args:?}: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
