//! A runtime in a directory of its own, with a small root file system made of this machine's shell.

use super::*;
use crate::exec::bundle::{ContainerPlan, Network, RootSource};
use std::process::Command;

/// What the containers of the tests can run.
const PROGRAMS: &[&str] = &["sh", "cat", "sleep", "tail", "ls", "readlink"];
/// A deadline for what takes milliseconds.
pub const SOON: Duration = Duration::from_secs(20);

pub struct Rig {
    pub runtime: Runtime,
    pub paths: RuntimePaths,
    directory: tempfile::TempDir,
}

/// What a container wrote, by stream.
#[derive(Debug, Default)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
}

impl Rig {
    pub fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_rootfs(&directory.path().join("rootfs"));
        let parent = PathBuf::from(format!("skep-test-{}-{name}", std::process::id()));
        let paths = RuntimePaths::below(directory.path(), &parent);
        let runtime = Runtime::open(paths.clone()).unwrap();
        Self {
            runtime,
            paths,
            directory,
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A container with a fresh writable layer that runs a shell script.
    pub fn plan(&self, id: &str, script: &str) -> ContainerPlan {
        let layer = self.path().join("layers").join(id);
        for part in ["upper", "work"] {
            std::fs::create_dir_all(layer.join(part)).unwrap();
        }
        let lower = vec![self.path().join("rootfs")];
        ContainerPlan {
            id: id.to_owned(),
            root: RootSource::Overlay {
                lower,
                upper: layer.join("upper"),
                work: layer.join("work"),
            },
            args: ["sh", "-c", script].map(str::to_owned).into(),
            hostname: format!("{id}-host"),
            network: Network::New,
            ..ContainerPlan::default()
        }
    }

    /// Runs a container to its end and removes it.
    pub async fn run(&self, plan: &ContainerPlan) -> (Ended, Output) {
        let container = self.runtime.create(&plan.bundle()).await.unwrap();
        container.start().await.unwrap();
        let ended = tokio::time::timeout(SOON, container.wait()).await.unwrap();
        let output = output(&container);
        container.delete().await.unwrap();
        self.assert_nothing_left(&plan.id);
        (ended, output)
    }

    pub async fn script(&self, id: &str, script: &str) -> (Ended, Output) {
        self.run(&self.plan(id, script)).await
    }

    /// After delete there is no directory, group, mount or process of a container.
    pub fn assert_nothing_left(&self, id: &str) {
        for root in [&self.paths.exec_root, &self.paths.state_root] {
            assert!(!root.join(id).exists(), "{}", root.join(id).display());
        }
        let found = self.groups().into_iter().find(|group| group.ends_with(id));
        assert_eq!(found, None);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.path().to_str().unwrap()), "{mounts}");
    }

    /// Every group directory of this rig.
    fn groups(&self) -> Vec<PathBuf> {
        let hierarchies = crate::exec::cgroup::Hierarchies::detect().unwrap();
        let roots = hierarchies
            .legacy
            .values()
            .chain(hierarchies.unified.as_ref());
        let parents = roots.map(|root| root.join(&self.paths.cgroup_parent));
        let children = parents
            .filter_map(|parent| std::fs::read_dir(parent).ok())
            .flatten();
        children
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }
}

impl Drop for Rig {
    /// The kernel lets go of a group a moment after its last process.
    fn drop(&mut self) {
        let until = std::time::Instant::now() + SOON;
        let mut parents: Vec<_> = self.groups();
        parents.extend(
            parents
                .clone()
                .iter()
                .filter_map(|group| group.parent().map(Path::to_owned)),
        );
        while std::time::Instant::now() < until {
            for group in &parents {
                let _ = std::fs::write(group.join("cgroup.kill"), "1");
                let _ = std::fs::remove_dir(group);
            }
            if !parents.iter().any(|group| group.exists()) {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// What a container's log holds.
pub fn output(container: &Container) -> Output {
    let mut output = Output::default();
    let text = std::fs::read_to_string(container.log_path()).unwrap();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        let stream = match line["stream"].as_str().unwrap() {
            "stdout" => &mut output.stdout,
            _ => &mut output.stderr,
        };
        stream.push_str(line["log"].as_str().unwrap());
    }
    output
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(SOON, waiting).await.is_ok(),
        "never happened: {what}"
    );
}

fn make_rootfs(root: &Path) {
    let copy = |from: &Path| {
        let to = root.join(from.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    for program in PROGRAMS {
        let path = Path::new("/bin").join(program);
        copy(&path);
        let libraries = Command::new("ldd").arg(&path).output().unwrap().stdout;
        let libraries = String::from_utf8(libraries).unwrap();
        let words = libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        words.for_each(|library| copy(Path::new(library)));
    }
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:\n",
    )
    .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nlog:x:40:web\n").unwrap();
    // A program that only exits, without a library: the smallest ELF that says so.
    std::fs::write(root.join("bin/nothing"), smallest_program()).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root.join("bin/nothing"), executable).unwrap();
}

/// An x86_64 ELF file of one segment: `exit_group(0)`.
fn smallest_program() -> Vec<u8> {
    let code = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    let (base, headers) = (0x40_0000_u64, 64 + 56);
    let length = headers + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [2_u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    for word in [base + headers, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend([1_u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    for word in [0, base, base, length, length, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}
