//! Programs that keep logins: `docker-credential-NAME get|store|erase`, which speak JSON on their standard streams.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

/// What they say when they have nothing.
const NOTHING: &str = "credentials not found";

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Name and secret for a server.
pub(super) fn get(program: &str, server: &str) -> anyhow::Result<Option<(String, String)>> {
    let Some(out) = ask(program, "get", server)? else {
        return Ok(None);
    };
    let found: Found = serde_json::from_str(&out)
        .with_context(|| format!("docker-credential-{program} gave something else than a login"))?;
    let some = !found.username.is_empty() || !found.secret.is_empty();
    Ok(some.then_some((found.username, found.secret)))
}

pub(super) fn store(program: &str, server: &str, name: &str, secret: &str) -> anyhow::Result<()> {
    let message = json!({"ServerURL": server, "Username": name, "Secret": secret});
    ask(program, "store", &message.to_string()).map(|_| ())
}

pub(super) fn erase(program: &str, server: &str) -> anyhow::Result<bool> {
    Ok(ask(program, "erase", server)?.is_some())
}

/// What a program answers; none where it knows nothing.
fn ask(program: &str, verb: &str, input: &str) -> anyhow::Result<Option<String>> {
    let program = format!("docker-credential-{program}");
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("cannot start {program}, which Docker's configuration names for logins")
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing is judged by its exit code.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("{program} {verb}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(Some(out));
    }
    let said = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
    if said.contains(NOTHING) {
        return Ok(None);
    }
    bail!("{program} {verb}: {}", said.trim())
}
