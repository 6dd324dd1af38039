//! What this machine's kernel has of what containers and networks need. Reads, loads nothing.

use std::cell::LazyCell;
use std::path::Path;

use crate::exec::cgroup::{Hierarchies, Layout};

/// Something that the kernel has or has not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// Whether it is there, built in or as a module.
    pub presence: Presence,
}

/// Whether something is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It is there, or can be loaded.
    Found,
    /// It is not.
    Missing,
}

/// Names as users know them, the kernel's modules, and a function of each by which one that is built in is known where
/// no list of modules is installed.
const FEATURES: [(&str, &str, &str); 6] = [
    ("overlay", "overlay", "ovl_fill_super"),
    ("bridge", "bridge", "br_dev_setup"),
    ("veth", "veth", "veth_setup"),
    ("vxlan", "vxlan", "vxlan_setup"),
    ("nftables", "nf_tables", "nf_tables_newtable"),
    ("conntrack", "nf_conntrack", "nf_conntrack_in"),
];

/// Looks for each feature.
pub fn features() -> Vec<Feature> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let modules = Path::new("/lib/modules").join(release);
    let known = [
        read(&modules.join("modules.builtin")),
        read(&modules.join("modules.dep")),
    ];
    let loaded = |module: &str| Path::new("/sys/module").join(module).exists();
    let systems = read(Path::new("/proc/filesystems"));
    // Some megabytes, which most machines need not read.
    let symbols = LazyCell::new(|| read(Path::new("/proc/kallsyms")));
    let find = |(name, module, symbol): (&'static str, &str, &str)| {
        let present = loaded(module)
            || known.iter().any(|list| lists(list, module))
            || mounts(&systems, module)
            || knows(&symbols, symbol);
        let presence = if present {
            Presence::Found
        } else {
            Presence::Missing
        };
        Feature { name, presence }
    };
    FEATURES.into_iter().map(find).collect()
}

/// How control groups are mounted, and the controllers that containers get limits by.
pub fn control_groups() -> (&'static str, Vec<String>) {
    let Ok(found) = Hierarchies::detect() else {
        return ("", Vec::new());
    };
    let layout = match found.layout() {
        Layout::Unified => "unified",
        Layout::Hybrid => "hybrid",
        Layout::Legacy => "legacy",
    };
    let named = |name: &&String| !name.starts_with("name=");
    let legacy = found.legacy.keys().filter(named).cloned();
    let mut controllers: Vec<String> = found
        .unified_controllers
        .iter()
        .cloned()
        .chain(legacy)
        .collect();
    controllers.sort();
    controllers.dedup();
    (layout, controllers)
}

/// Whether a list of module files names a module: the kernel takes `-` and `_` for the same.
fn lists(list: &str, module: &str) -> bool {
    let file = |line: &str| {
        let path = line.split(':').next().unwrap_or(line);
        let name = path.rsplit('/').next().unwrap_or(path);
        name.split('.').next().unwrap_or(name).replace('-', "_")
    };
    list.lines().any(|line| file(line) == module)
}

fn mounts(systems: &str, name: &str) -> bool {
    systems
        .lines()
        .any(|line| line.split_whitespace().next_back() == Some(name))
}

/// Whether a function is in the kernel's table of symbols: address, kind, name, and its module if it has one.
fn knows(symbols: &str, function: &str) -> bool {
    symbols
        .lines()
        .any(|line| line.split_whitespace().nth(2) == Some(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_by_its_file_and_not_by_a_part_of_its_name() {
        let list = "kernel/net/netfilter/nf_tables.ko.xz: kernel/x.ko\nkernel/drivers/net/vxlan/vxlan.ko:\nkernel/net/nf-conntrack.ko\n";
        for (module, found) in [
            ("nf_tables", Presence::Found),
            ("vxlan", Presence::Found),
            ("nf_conntrack", Presence::Found),
            ("tables", Presence::Missing),
            ("x", Presence::Missing),
        ] {
            let presence = if lists(list, module) {
                Presence::Found
            } else {
                Presence::Missing
            };
            assert_eq!(presence, found, "{module}");
        }
        assert!(mounts("nodev\toverlay\n\text4\n", "overlay"));
        assert!(!mounts("nodev\toverlay\n", "over"));
        let symbols = "0000000000000000 t veth_setup\n0000000000000000 t vxlan_setup\t[vxlan]\n";
        assert!(knows(symbols, "veth_setup") && knows(symbols, "vxlan_setup"));
        assert!(!knows(symbols, "setup") && !knows(symbols, "[vxlan]"));
    }

    #[test]
    fn a_machine_on_which_the_tests_of_networks_run_has_all() {
        let missing = features();
        let missing: Vec<_> = missing
            .iter()
            .filter(|feature| feature.presence == Presence::Missing)
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
