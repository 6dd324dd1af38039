//! The Debian package: its settings are the daemon's defaults, and all that it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_cli::args::DaemonArgs;
use skep_cli::daemon::config::{self, Config};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn packed(name: &str) -> String {
    fs::read_to_string(root().join("deploy/package").join(name)).unwrap()
}

/// What the daemon makes of a file of settings.
fn read(text: &str) -> anyhow::Result<Config> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("skep.toml");
    fs::write(&path, text).unwrap();
    let args = DaemonArgs {
        config: Some(path),
        ..DaemonArgs::default()
    };
    let mut config = config::read(args, None)?;
    // It is beside the file, and each of these files is somewhere else.
    config.registries.certificates.remove(0);
    Ok(config)
}

/// The lines that show a key, without their mark.
fn shown(text: &str) -> Vec<&str> {
    let settings = text.lines().filter_map(|line| line.strip_prefix('#'));
    settings
        .filter(|line| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
        .collect()
}

/// All keys the daemon knows, as it names them when it refuses one.
fn known() -> BTreeSet<String> {
    let error = format!("{:#}", read("no-such-key = 1\n").unwrap_err());
    let (_, list) = error.split_once("expected one of ").unwrap();
    let line = list.lines().next().unwrap();
    line.split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn every_setting_is_shown_with_its_default() {
    let text = packed("skep.toml");
    let default = read("").unwrap();
    assert_eq!(read(&text).unwrap(), default, "it sets something");
    let mut keys = BTreeSet::new();
    let mut all = String::new();
    for line in shown(&text) {
        let key = line.split(" = ").next().unwrap().trim_matches(['[', ']']);
        assert!(keys.insert(key.to_owned()), "{key} stands twice");
        let config = read(line).unwrap_or_else(|error| panic!("{line}: {error:#}"));
        if ["log-file", "metrics-addr"].contains(&key) {
            // Those without a default: what is shown is an example.
            assert!(default.log_file.is_none() && default.metrics.is_none());
            assert!(config.log_file.is_some() || config.metrics.is_some());
        } else {
            assert_eq!(config, default, "{line} is not the default");
            all.push_str(line);
            all.push('\n');
        }
    }
    assert_eq!(keys, known());
    assert_eq!(read(&all).unwrap(), default);
}

fn metadata() -> toml::Table {
    let text = fs::read_to_string(root().join("cli/Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    manifest["package"]["metadata"]["deb"]
        .as_table()
        .unwrap()
        .clone()
}

/// Source, destination and mode of each file in the package.
fn assets() -> Vec<[String; 3]> {
    let metadata = metadata();
    let assets = metadata["assets"].as_array().unwrap().iter();
    let texts = |asset: &toml::Value| {
        let parts = asset.as_array().unwrap().iter();
        let parts: Vec<String> = parts
            .map(|part| part.as_str().unwrap().to_owned())
            .collect();
        parts.try_into().unwrap()
    };
    assets.map(texts).collect()
}

#[test]
fn all_that_the_package_holds_is_there() {
    let script = packed("build");
    for [source, to, mode] in assets() {
        let path = root().join("cli").join(&source);
        if source == "target/release/skep" {
            assert_eq!((to.as_str(), mode.as_str()), ("usr/bin/", "755"));
        } else if let Some((_, made)) = source.split_once("deploy/package/made/") {
            // The binary says it; `build` writes it down.
            let made = made.replace("man/*.1", "man").replace("skep.", "skep.$");
            let written = ["skep.$bash", "skep.$zsh", "skep.$fish"].contains(&made.as_str());
            assert!(written || made == "man", "{source}");
            assert!(script.contains("\"$made/man\"") && script.contains("\"$made/skep.$shell\""));
        } else {
            assert!(path.is_file(), "{source} is not there");
        }
    }
    let metadata = metadata();
    for file in metadata["conf-files"].as_array().unwrap() {
        let name = file.as_str().unwrap().trim_start_matches('/');
        let packed = assets()
            .into_iter()
            .any(|[source, to, _]| format!("{to}{}", source.rsplit('/').next().unwrap()) == name);
        assert!(packed, "{name} is not in the package");
    }
    let unit = &metadata["systemd-units"];
    let beside = root()
        .join("cli")
        .join(unit["unit-scripts"].as_str().unwrap());
    assert!(beside.join("skep.service").is_file());
}

#[test]
fn the_scripts_are_shell_and_leave_their_place_for_the_unit() {
    let metadata = metadata();
    let directory = root()
        .join("cli")
        .join(metadata["maintainer-scripts"].as_str().unwrap());
    let mut names = BTreeSet::new();
    for script in fs::read_dir(directory).unwrap() {
        let path = script.unwrap().path();
        names.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("#!/bin/sh\nset -e\n"),
            "{}",
            path.display()
        );
        assert!(text.contains("\n#DEBHELPER#\n"), "{}", path.display());
        let checked = Command::new("sh").arg("-n").arg(&path).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
    assert_eq!(
        names,
        ["postinst", "postrm", "prerm"].map(str::to_owned).into()
    );
    let build = root().join("deploy/package/build");
    assert_eq!(
        fs::metadata(&build).unwrap().permissions().mode() & 0o111,
        0o111
    );
    let checked = Command::new("sh").arg("-n").arg(&build).status().unwrap();
    assert!(checked.success());
}

#[test]
fn the_unit_keeps_containers_and_takes_nothing_from_them() {
    let unit = packed("skep.service");
    let settings: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    for needed in [
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "KillMode=process",
        "Delegate=yes",
        "TasksMax=infinity",
        "ExecStart=/usr/bin/skep daemon",
    ] {
        assert!(settings.contains(&needed), "{needed}");
    }
    // Containers inherit these, or see other files than the machine's.
    for barred in [
        "NoNewPrivileges",
        "CapabilityBoundingSet",
        "SystemCall",
        "Restrict",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "Protect",
        "Private",
        "DevicePolicy",
        "UMask",
    ] {
        let found = settings.iter().find(|line| line.starts_with(barred));
        assert_eq!(found, None);
    }
}
