//! From outside of the nodes: a machine that has nothing but a token.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use skep_harness::cluster::{Cluster, node};
use skep_harness::images::tar;

use crate::SKEP;
use crate::archive::{PROGRAM, root};
use crate::images::given;
use crate::outsider::Outsider;

/// Settings that make a test wait no longer than it must.
const QUICK: [&str; 4] = ["--update-monitor", "1s", "--rollback-monitor", "1s"];

fn import(cluster: &Cluster, name: &str, root: &[u8]) {
    let ended = given(cluster, "node-1", &["image", "import", "-", name], root);
    assert_eq!(ended.code, 0, "{}", ended.err);
}

fn create(cluster: &Cluster, name: &str, replicas: &str, more: &[&str]) {
    let args = ["service", "create", "--name", name, "--replicas", replicas];
    let after = ["r.example/web:1", PROGRAM, "100000"];
    cluster.skep("node-1", &[&args[..], &QUICK, more, &after].concat());
}

/// A token for a job that rolls `web` out, with more said of it.
fn deploy(more: &str) -> Vec<&str> {
    let made = [
        "--role",
        "deploy",
        "--service",
        "web",
        "--image",
        "r.example/web",
    ];
    made.into_iter().chain(more.split(' ')).collect()
}

/// What the job must not do, and what it is told.
const REFUSED: [(&str, &str); 23] = [
    (
        "service update --image r.example/other:1 web",
        "r.example/web and not \"r.example/other:1\"",
    ),
    ("service update --image skep/hello web", "skep/hello"),
    ("service update --replicas 4 web", "1..3 replicas"),
    (
        "service update --mount-add type=bind,src=/,dst=/host web",
        "--mount",
    ),
    ("service update --env-add A=1 web", "--env"),
    (
        "service update --args id --image r.example/web:1 web",
        "--args",
    ),
    ("service update --force web", "--force"),
    (
        "service update --image r.example/web:1 db",
        "not for \"db\"",
    ),
    ("rollout undo db", "not for \"db\""),
    ("service inspect db", "not for \"db\""),
    ("service ps db", "not for \"db\""),
    ("service ls", "may not do \"list services\""),
    ("service logs web", "may not do \"logs\""),
    ("service rm web", "may not do \"remove service\""),
    (
        "service create --name mine skep/hello",
        "may not do \"create service\"",
    ),
    ("rollout pause web", "may not do \"change rollout\""),
    ("node ls", "may not do \"list nodes\""),
    ("secret ls", "may not do \"list files\""),
    ("token ls", "may not do \"list tokens\""),
    (
        "token create --role admin mine",
        "may not do \"create token\"",
    ),
    ("swarm join-token manager", "may not do \"join tokens\""),
    ("network create mine", "may not do \"create network\""),
    ("events --until 0s", "may not do \"events\""),
];

#[test]
fn a_job_with_a_deploy_token_rolls_out_its_service_and_can_do_nothing_else() {
    let cluster = Cluster::up(SKEP, 1, 1);
    for name in ["r.example/web:1", "r.example/web:2", "r.example/other:1"] {
        import(&cluster, name, &root(name));
    }
    let empty = tar(&[("etc/mark", "no program")]);
    import(&cluster, "r.example/web:bad", &empty);
    create(
        &cluster,
        "web",
        "2",
        &["--update-failure-action", "rollback"],
    );
    create(&cluster, "db", "1", &[]);
    let job = Outsider::new(&cluster, &[1], &deploy("--replicas 1..3 ci"));

    job.ends("service update --image r.example/web:2 web", 0, "");
    job.ends(
        "service update --image r.example/web:2 web",
        0,
        "nothing to do",
    );
    job.ends(
        "service update --image r.example/web:bad web",
        10,
        "rolled back",
    );
    job.ends("rollout status web", 10, "rolled back");
    job.ends("service update --replicas 3 web", 0, "");
    job.ends("service update --plan --image r.example/web:1 web", 2, "");
    let tasks = job.skep("service ps web --format {{.Image}}={{.DesiredState}}");
    assert!(
        tasks.out.contains("r.example/web:2=Running"),
        "{}{}",
        tasks.out,
        tasks.err
    );

    // Who did it, wherever that is told.
    let history = || cluster.list("node-1", &["rollout", "history", "web"]);
    let (before, outside) = (history(), cluster.lab.address("outside").unwrap());
    assert_eq!(before[1]["by"], format!("token:ci@{outside}"));
    let filter = format!("by=token:ci@{outside}");
    let events = [
        "events", "--since", "1h", "--until", "0s", "--filter", &filter,
    ];
    let events = cluster.skep("node-1", &events);
    assert!(events.contains("service update"), "{events}");

    for (line, says) in REFUSED {
        job.ends(line, 15, says);
    }
    job.ends("system df", 1, "own daemon");
    assert_eq!(history().len(), before.len(), "nothing was changed");
    let shown = cluster.list("node-1", &["token", "inspect", "ci"]);
    assert!(!shown.is_empty() && !format!("{shown:?}").contains("SKEPT"));
}

#[test]
fn readers_see_and_admins_do() {
    let cluster = Cluster::up(SKEP, 1, 0);
    cluster.skep(
        "node-1",
        &["service", "create", "--name", "web", "skep/hello"],
    );
    let reader = Outsider::new(&cluster, &[1], &["watcher"]);
    for line in [
        "node ls",
        "service ls",
        "service inspect web",
        "service logs web",
        "token ls",
        "events --since 1h --until 0s",
    ] {
        reader.ends(line, 0, "");
    }
    reader.ends(
        "service update --force web",
        15,
        "may not do \"update service\"",
    );
    reader.ends("swarm join-token worker", 15, "may not do \"join tokens\"");
    let admin = Outsider::new(&cluster, &[1], &["--role", "admin", "boss"]);
    admin.ends("service scale web=2", 0, "");
    admin.ends("token create other", 0, "");
    admin.ends("token rm other", 0, "");
}

#[test]
fn a_token_that_is_over_or_revoked_or_of_another_cluster_is_told_so() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let brief = Outsider::new(&cluster, &[1], &["--expires", "1s", "brief"]);
    cluster.until("the token is over", || brief.skep("node ls").code == 15);
    brief.ends("node ls", 15, "token \"brief\" has expired");
    brief.ends("service update --force web", 15, "has expired");

    let reader = Outsider::new(&cluster, &[1], &["watcher"]);
    let told = reader.home.path().join("told");
    let mut following = reader.follow("events --since 1h", &told);
    cluster.until("the present is told", || {
        std::fs::read_to_string(&told).is_ok_and(|told| told.contains("token create"))
    });
    cluster.skep("node-1", &["token", "rm", "watcher"]);
    cluster.until("what goes on is ended", || {
        following.try_wait().unwrap().is_some()
    });
    let ended = following.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(15), "{said}");
    assert!(said.contains("revoked"), "{said}");
    reader.ends("node ls", 15, "the token was revoked");

    let parts: Vec<&str> = reader.token.split('-').collect();
    let with = |root: &str, secret: &str| {
        let token = format!("SKEPT-1-{root}-{}-{secret}", parts[3]);
        Outsider::with(&cluster, &[1], token)
    };
    let ones = "1".repeat(50);
    let other = with(&ones, parts[4]);
    other.ends("node ls", 15, "its cluster is another one than the token's");
    other.ends("service update --force web", 15, "another one");
    let none = Outsider::with(&cluster, &[1], String::new());
    none.ends("node ls", 1, "SKEP_TOKEN");
    let kept = Outsider::new(&cluster, &[1], &["kept"]);
    let parts: Vec<&str> = kept.token.split('-').collect();
    let guessed = format!("SKEPT-1-{}-{}-{ones}", parts[2], parts[3]);
    Outsider::with(&cluster, &[1], guessed).ends("node ls", 15, "secret is not the one");
}

#[test]
fn a_context_leads_to_the_cluster_and_is_kept_for_its_user_alone() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let job = Outsider::new(&cluster, &[1], &["--role", "admin", "boss"]);
    let file = job.home.path().join("token");
    std::fs::write(&file, &job.token).unwrap();
    let own = |line: &str| job.run(&[], line);
    let (host, path) = (&job.host, file.display());
    let made = own(&format!("context create lab --host {host} --token {path}"));
    assert_eq!(made.code, 0, "{}", made.err);
    std::fs::remove_file(file).unwrap();
    let kept = job.home.path().join(".config/skep/contexts/lab/token");
    let mode = kept.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(own("node ls").code, 0, "the daemon of this machine");
    let once = own("--context lab node ls");
    assert!(
        once.code == 0 && once.out.contains("node-1"),
        "{}",
        once.err
    );
    let variable = job.run(&["SKEP_CONTEXT=lab"], "node ls");
    assert_eq!(variable.code, 0, "{}", variable.err);
    assert_eq!(own("context use lab").code, 0);
    assert_eq!(own("context show").out.trim(), "lab");
    assert_eq!(own("node ls").code, 0);
    let listed = own("context ls").out;
    assert!(
        listed.contains("lab *") && listed.contains("default"),
        "{listed}"
    );
    let shown = own("context inspect").out;
    assert!(shown.contains(host) && !shown.contains("SKEPT"), "{shown}");
    assert_ne!(own("context rm lab").code, 0, "it is in use");
    assert_eq!(own("context rm -f lab").code, 0);
    assert!(!kept.exists());
    assert_eq!(own("context show").out.trim(), "default");
}

#[test]
fn a_watch_goes_on_with_the_next_manager_and_tells_the_same_end() {
    let cluster = Cluster::up(SKEP, 3, 0);
    for name in ["r.example/web:1", "r.example/web:2"] {
        import(&cluster, name, &root(name));
    }
    let delay = [
        "--update-delay",
        "1s",
        "--constraint",
        "node.hostname!=node-3",
    ];
    create(&cluster, "web", "4", &delay);
    // The first that is tried is the one that dies; it may lead or not.
    let job = Outsider::new(&cluster, &[3, 1, 2], &deploy("ci"));
    let replaced = |task: &Value| {
        task["image"]
            .as_str()
            .is_some_and(|it| it.contains("web:2"))
    };
    std::thread::scope(|scope| {
        let update = "service update --image r.example/web:2 web";
        let watching = scope.spawn(|| job.skep(update));
        cluster.until("the first is replaced", || {
            cluster.running("node-1", "web").iter().any(replaced)
        });
        cluster.lab.kill("node-3").unwrap();
        let ended = watching.join().unwrap();
        assert_eq!(ended.code, 0, "{}", ended.err);
    });
    job.ends("rollout status web", 0, "");
    for number in [1, 2] {
        cluster.lab.kill(&node(number)).unwrap();
    }
    let nobody = job.skep("service update --image r.example/web:1 web");
    assert_eq!(nobody.code, 16, "{}", nobody.err);
    for number in 1..=3 {
        let address = cluster.lab.address(&node(number)).unwrap();
        let named = format!("{address}:2377");
        assert!(nobody.err.contains(&named), "{}", nobody.err);
    }
}
