//! The images that `deploy/examples` name, made of Debian's packages: servers where Debian has them, and where it has not, a
//! page that a shell serves once it has found all that its stack promises it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::programs::{Layout, write};

const PATH: [&str; 2] = [
    "--config.env",
    "PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/usr/sbin:/bin",
];
const ROOT: &str = "root:x:0:0::/:/bin/sh\n";
/// `nobody` of most distributions, as whom the example runs Prometheus.
const NOBODY: u32 = 65_534;
const POSTGRES: u32 = 100;

const DATABASE: &str = "#!/bin/sh
set -e
data=/var/lib/postgresql/data
test -s $data/PG_VERSION || initdb -N -D $data --pwfile=$POSTGRES_PASSWORD_FILE --auth=scram-sha-256 --no-locale -E UTF8
exec postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
";

/// A server for the blog's tables: it answers whoever connects, and is well once it has its password.
const TABLES: &str = "#!/bin/sh
set -e
test \"$MARIADB_DATABASE/$MARIADB_USER\" = blog/blog
test -s $MARIADB_PASSWORD_FILE
touch /var/lib/mysql/there /tmp/well
exec busybox nc -ll -p 3306 -e /bin/busybox echo tables
";

/// Serves a page on port 80 once all words after the first, its text, are commands that succeed.
const PAGE: &str = "#!/bin/sh
text=$1
shift
for needed; do
  until sh -c \"$needed\"; do busybox sleep 0.2; done
done
mkdir -p /tmp/page
echo \"$text\" > /tmp/page/index.html
exec busybox httpd -f -p ${PORT:-80} -h /tmp/page
";

/// A page that is served when all of `needed` succeed.
fn page(layout: &Layout, name: &str, text: &str, needed: &[&str]) -> PathBuf {
    let tag = name.replace(['/', ':'], "-");
    layout.add(&tag, |tree| {
        write(tree, "usr/local/bin/page", PAGE);
        write(tree, "etc/passwd", ROOT);
        open(&tree.join("tmp"));
        for place in ["var/www/html", "usr/bin"] {
            fs::create_dir_all(tree.join(place)).expect("a directory");
        }
        for applet in ["mkdir", "test", "touch", "grep", "sleep"] {
            let link = tree.join("usr/bin").join(applet);
            std::os::unix::fs::symlink("/bin/busybox", link).expect("a link");
        }
    });
    let words = [&["/usr/local/bin/page", text], needed].concat();
    run_as(layout, &tag, &words, &[]);
    layout.archive(&tag, name)
}

fn run_as(layout: &Layout, tag: &str, words: &[&str], options: &[&str]) {
    let words = words.iter().flat_map(|word| ["--config.cmd", word]);
    let all: Vec<&str> = words.chain(PATH).chain(options.iter().copied()).collect();
    layout.config(tag, &all);
}

fn open(place: &Path) {
    fs::create_dir_all(place).expect("a directory");
    fs::set_permissions(place, fs::Permissions::from_mode(0o1777)).expect("a mode");
}

fn owned(place: &Path, by: u32) {
    fs::create_dir_all(place).expect("a directory");
    chown(place, Some(by), Some(by)).expect("an owner");
    fs::set_permissions(place, fs::Permissions::from_mode(0o700)).expect("a mode");
}

fn shell() -> Layout {
    Layout::new(&["dash", "busybox-static"])
}

/// Of `voting`: Debian's redis and PostgreSQL; the pages and the worker look whether they reach them.
///
/// # Panics
/// When packages cannot be had, as everything here.
pub fn voting() -> Vec<PathBuf> {
    let queue = "echo PING | busybox nc -w 2 queue 6379 | grep PONG";
    let db = "busybox nc -w 2 db 5432 < /dev/null";
    let apart = "! busybox nc -w 1 db 5432 < /dev/null";
    let shell = shell();
    let mut made = vec![
        page(&shell, "example/vote:1.0", "vote", &[queue, apart]),
        page(&shell, "example/result:1.0", "result", &[db]),
        page(&shell, "example/worker:1.0", "worker", &[queue, db]),
    ];
    let redis = Layout::new(&["redis-server", "redis-tools"]);
    redis.add("7", |tree| write(tree, "etc/passwd", ROOT));
    let server = ["redis-server", "--protected-mode", "no", "--save", ""];
    run_as(&redis, "7", &server, &[]);
    made.push(redis.archive("7", "redis:7-alpine"));

    let packages = ["postgresql-15", "postgresql-client-15", "dash", "coreutils"];
    let postgres = Layout::new(&packages);
    postgres.add("16", |tree| {
        write(tree, "usr/local/bin/database", DATABASE);
        write(tree, "etc/passwd", "postgres:x:100:100::/tmp:/bin/sh\n");
        write(tree, "etc/group", "postgres:x:100:\n");
        owned(&tree.join("var/lib/postgresql/data"), POSTGRES);
        owned(&tree.join("var/run/postgresql"), POSTGRES);
        open(&tree.join("tmp"));
    });
    let user = ["--config.user", "postgres", "--config.stopsignal", "SIGINT"];
    run_as(&postgres, "16", &["/usr/local/bin/database"], &user);
    made.push(postgres.archive("16", "postgres:16-alpine"));
    made
}

/// Of `blog`: both are a shell's, which look whether the settings and the secret came and the database is reached.
///
/// # Panics
/// As all here.
pub fn blog(version: &str) -> Vec<PathBuf> {
    let shell = shell();
    let settings = "test $WORDPRESS_DB_NAME/$WORDPRESS_DB_USER = blog/blog";
    let secret = "test -s $WORDPRESS_DB_PASSWORD_FILE";
    let tables = "busybox nc -w 2 $WORDPRESS_DB_HOST 3306 < /dev/null | grep tables";
    let kept = "touch /var/www/html/kept";
    let needed = [settings, secret, tables, kept];
    let blog = page(&shell, &format!("wordpress:{version}"), "blog", &needed);
    shell.add("tables", |tree| {
        write(tree, "usr/local/bin/tables", TABLES);
        write(
            tree,
            "usr/local/bin/healthcheck.sh",
            "#!/bin/sh\ntest -e /tmp/well\n",
        );
        write(tree, "etc/passwd", ROOT);
        fs::create_dir_all(tree.join("var/lib/mysql")).expect("a directory");
        fs::create_dir_all(tree.join("usr/bin")).expect("a directory");
        std::os::unix::fs::symlink("/bin/busybox", tree.join("usr/bin/touch")).expect("a link");
        open(&tree.join("tmp"));
    });
    run_as(&shell, "tables", &["/usr/local/bin/tables"], &[]);
    vec![blog, shell.archive("tables", "mariadb:11")]
}

/// Of `monitoring`: Debian's Prometheus and its exporter; the page looks for its secret and the store.
///
/// # Panics
/// As all here.
pub fn monitoring() -> Vec<PathBuf> {
    let exporter = Layout::new(&["prometheus-node-exporter"]);
    let entry = "--config.entrypoint";
    exporter.add("1", |tree| write(tree, "etc/passwd", ROOT));
    exporter.config("1", &[entry, "/usr/bin/prometheus-node-exporter"]);
    let store = Layout::new(&["prometheus", "busybox-static"]);
    store.add("2", |tree| {
        write(tree, "etc/passwd", "nobody:x:65534:65534::/:/bin/sh\n");
        owned(&tree.join("prometheus"), NOBODY);
    });
    let data = "--storage.tsdb.path=/prometheus";
    store.config("2", &[entry, "/usr/bin/prometheus", entry, data]);
    let shell = shell();
    let secret = "test -r $GF_SECURITY_ADMIN_PASSWORD__FILE";
    let found = "busybox wget -q -O - http://store:9090/-/ready | grep -i ready";
    let name = "grafana/grafana:11.2.0";
    let tag = name.replace(['/', ':'], "-");
    let drawn = page(&shell, name, "figures", &[secret, found]);
    drop(drawn);
    let own = ["--config.user", "472:472", "--config.env", "PORT=3000"];
    shell.config(&tag, &own);
    vec![
        exporter.archive("1", "prom/node-exporter:v1.8.2"),
        store.archive("2", "prom/prometheus:v2.54.1"),
        shell.archive(&tag, name),
    ]
}

/// Of `proxy`: Debian's HAProxy.
///
/// # Panics
/// As all here.
pub fn proxy() -> Vec<PathBuf> {
    let proxy = Layout::new(&["haproxy"]);
    proxy.add("3", |tree| write(tree, "etc/passwd", ROOT));
    let file = "/usr/local/etc/haproxy/haproxy.cfg";
    run_as(
        &proxy,
        "3",
        &["/usr/sbin/haproxy", "-W", "-db", "-f", file],
        &[],
    );
    vec![proxy.archive("3", "haproxy:3.0")]
}
