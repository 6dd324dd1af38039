//! A whole worker with real containers and a real network stack, in namespaces of its own.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use skep_proto::assignment::AssignedTask;
use skep_proto::image::BUILT_IN;
use skep_proto::task::TaskState;

use super::*;
use crate::agent::tests::{ME, assignment, task};
use crate::session::tests::{Manager, plain_dial};

const SOON: Duration = Duration::from_secs(20);

/// Runs a test on a thread that has a network and mounts of its own; threads it starts inherit them.
fn apart(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            loopback_up().await;
            test.await;
        });
    });
    thread.join().unwrap();
}

async fn loopback_up() {
    use skep_netd::Kernel;
    let directory = tempfile::tempdir().unwrap();
    let kernel = LinuxKernel::open(directory.path()).unwrap();
    let up = skep_netd::step::Step::SetUp {
        name: "lo".to_owned(),
    };
    kernel
        .run(&skep_netd::names::Ns::Host, vec![up])
        .await
        .unwrap();
}

fn hello(desired: TaskState) -> AssignedTask {
    let mut task = task(desired);
    Arc::make_mut(&mut task.spec).container.image.name = BUILT_IN.to_owned();
    task
}

#[test]
fn a_worker_runs_what_it_is_assigned_and_a_new_daemon_goes_on() {
    apart(async {
        let directory = tempfile::tempdir().unwrap();
        let cgroup = PathBuf::from(format!("skep-test-{}-worker", std::process::id()));
        let mut manager = Manager::new().await;
        let config = Config {
            registries: crate::exec::image::registry::Registries::default(),
            node: ME,
            data_root: directory.path().join("data"),
            exec_root: directory.path().join("run"),
            cgroup_parent: cgroup.clone(),
            labels: BTreeMap::new(),
            generic: BTreeMap::new(),
            managers: vec![manager.address],
            door: 2377,
            dial: plain_dial(),
            volumes: Worker::open_volumes(&directory.path().join("data")).unwrap(),
            again: Arc::new(|| std::io::Error::other("not in a test")),
        };
        std::fs::create_dir_all(&config.data_root).unwrap();
        let store = Worker::open_store(&config.data_root).unwrap();
        let worker = Worker::start(config.clone(), store.clone()).await.unwrap();
        let (mut seat, _) = manager.greet(&[]).await;
        assert_eq!(
            seat.whole(1, &assignment(1, vec![hello(TaskState::Running)]))
                .await,
            ""
        );
        let number = seat.reported(TaskState::Running).await;
        seat.commit(number).await;
        drop(seat);
        worker.shutdown().await;

        let worker = Worker::start(config, store.clone()).await.unwrap();
        let (mut seat, hello_again) = manager.greet(&[]).await;
        assert_eq!(hello_again.held.unwrap().index, 1);
        assert_eq!(hello_again.images.unwrap().digests.len(), 1);
        let number = seat.reported(TaskState::Running).await;
        seat.commit(number).await;
        assert_eq!(
            seat.whole(2, &assignment(2, vec![hello(TaskState::Shutdown)]))
                .await,
            ""
        );
        let number = seat.reported(TaskState::Shutdown).await;
        seat.commit(number).await;
        assert_eq!(
            seat.whole(3, &assignment(3, vec![hello(TaskState::Remove)]))
                .await,
            ""
        );
        assert_eq!(seat.whole(4, &assignment(4, vec![])).await, "");
        let gone = async {
            let rootfs = directory.path().join("data/images/rootfs");
            while std::fs::read_dir(&rootfs).unwrap().count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, gone).await.unwrap();
        worker.shutdown().await;
        remove_groups(&cgroup);
    });
}

fn remove_groups(parent: &std::path::Path) {
    let hierarchies = crate::exec::cgroup::Hierarchies::detect().unwrap();
    let roots = hierarchies
        .legacy
        .values()
        .chain(hierarchies.unified.as_ref());
    for group in roots.map(|root| root.join(parent)) {
        let deadline = std::time::Instant::now() + SOON;
        while group.exists() && std::time::Instant::now() < deadline {
            // Only empty ones can be removed, and a supervisor may need a moment to be gone.
            let _ = std::fs::remove_dir(group.join("_supervisors"));
            let _ = std::fs::remove_dir(&group);
            std::thread::yield_now();
        }
    }
}
