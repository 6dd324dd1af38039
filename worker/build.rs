//! Builds the supervisor and the built-in image's program as small static programs, for the daemon to carry
//! inside itself.
//!
//! It runs a cargo of its own with a target directory of its own, so it waits for no lock of the
//! outer one; if nothing changed it is not run at all.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the outer build says about itself and must not reach the inner one.
const OUTER: &[&str] = &[
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "MFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "LLVM_PROFILE_FILE",
];

/// The programs, and the variables by which the worker finds them.
const PROGRAMS: [(&str, &str); 3] = [
    ("skep-shim", "SKEP_SHIM"),
    ("skep-hello", "SKEP_HELLO"),
    ("skep-init", "SKEP_INIT"),
];

const WATCHED: [&str; 8] = [
    "build.rs",
    "shim/src",
    "shim/Cargo.toml",
    "hello/src",
    "hello/Cargo.toml",
    "init/src",
    "init/Cargo.toml",
    "../Cargo.lock",
];

/// How they are built: small, since each container has one in memory.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let room = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let target_dir = PathBuf::from(env::var("OUT_DIR")?).join("static");
    let target = env::var("TARGET")?;
    for watched in WATCHED {
        println!("cargo::rerun-if-changed={}", room.join(watched).display());
    }
    let status = cargo(&room, &target_dir, &target)?.status()?;
    if !status.success() {
        return Err(format!("cannot build the static programs for {target}: {status}").into());
    }
    let built = target_dir.join(&target).join("release");
    for (program, variable) in PROGRAMS {
        println!(
            "cargo::rustc-env={variable}={}",
            built.join(program).display()
        );
    }
    Ok(())
}

fn cargo(room: &Path, target_dir: &Path, target: &str) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(env::var("CARGO")?);
    let own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_FEATURE_");
    let cfg = |name: &str| name.starts_with("CARGO_CFG_") || name.starts_with("CARGO_MANIFEST_");
    let profile = |name: &str| name.starts_with("CARGO_PROFILE_");
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if own(text) || cfg(text) || profile(text) || OUTER.contains(&text) {
            command.env_remove(&name);
        }
    }
    command
        .args(["build", "--release", "--locked", "--bins"])
        .args(
            PROGRAMS
                .iter()
                .flat_map(|(program, _)| ["--package", program]),
        )
        .args(["--manifest-path"])
        .arg(room.join("shim/Cargo.toml"))
        .args(["--target", target, "--target-dir"])
        .arg(target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .envs(PROFILE.iter().copied());
    Ok(command)
}
