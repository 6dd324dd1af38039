//! `skep login` and `skep logout`.

use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, bail};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use skep_proto::image::RegistryAuth;
use skep_proto::wire::v1;

use super::file::Logins;
use super::registry;
use crate::args::image::{LoginArgs, LogoutArgs};
use crate::commands::client::{Client, said};
use crate::output;

/// The most that is read as a password.
const MAX_PASSWORD: u64 = 64 << 10;

/// Shows a registry who we are, and keeps what it takes.
///
/// # Errors
/// When it refuses, or the login cannot be kept.
pub async fn log_in(client: &Client, args: LoginArgs) -> anyhow::Result<ExitCode> {
    let registry = registry(args.server.as_deref());
    let mut logins = Logins::open()?;
    let mut auth = match logins.get(&registry)? {
        // Without a name: is the one that is kept still good?
        Some(kept) if args.username.is_none() && args.password.is_none() => kept,
        _ => asked(&args)?,
    };
    let message = v1::LoginRequest {
        registry: registry.clone(),
        auth: Some(v1::RegistryAuth::from(&auth)),
    };
    let answer = client.images.clone().login(message).await;
    let answer = answer.map_err(|status| said(&status))?.into_inner();
    if !answer.identity_token.is_empty() {
        auth.identity_token = answer.identity_token;
        auth.password.clear();
    }
    logins.put(&registry, &auth)?;
    output::line(&format!(
        "Login Succeeded: {registry}, kept in {}",
        logins.place(&registry)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Forgets a login.
///
/// # Errors
/// When what keeps it cannot be changed.
pub fn log_out(args: &LogoutArgs) -> anyhow::Result<ExitCode> {
    let registry = registry(args.server.as_deref());
    let known = Logins::open()?.remove(&registry)?;
    output::line(&match known {
        true => format!("Removed the login for {registry}"),
        false => format!("Not logged in to {registry}"),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn asked(args: &LoginArgs) -> anyhow::Result<RegistryAuth> {
    let username = match &args.username {
        Some(name) => name.clone(),
        None => prompt("Username: ")?,
    };
    let password = match &args.password {
        Some(password) => {
            output::notice(
                "Warning: --password can be seen by others on this machine; use --password-stdin",
            );
            password.clone()
        }
        None if args.password_stdin => from_stdin()?,
        None => {
            let stdin = std::io::stdin();
            if !stdin.is_terminal() {
                bail!(
                    "the standard input is no terminal to ask for a password: use --password-stdin"
                );
            }
            let _silent = Silent::begin()?;
            let password = prompt("Password: ")?;
            output::notice("");
            password
        }
    };
    if username.is_empty() || password.is_empty() {
        bail!("a login needs a name and a password");
    }
    Ok(RegistryAuth {
        username,
        password,
        identity_token: String::new(),
    })
}

fn from_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text);
    read.context("cannot read the password from the standard input")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn prompt(words: &str) -> anyhow::Result<String> {
    output::ask(words)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin()).context("cannot silence the terminal")?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &silent)
            .context("cannot silence the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        if tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &self.0).is_err() {
            output::notice("the terminal stays silent; type: stty echo");
        }
    }
}
