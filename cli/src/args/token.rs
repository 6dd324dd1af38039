//! `skep token`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use skep_proto::token::{ImagePattern, LASTS, ReplicaRange};
use skep_proto::unit;

use super::{InspectArgs, ListArgs, RemoveArgs};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What lets users in from outside of the nodes.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token and print it, once.
    Create(CreateArgs),
    /// List them; what proves them is never shown.
    Ls(ListArgs),
    /// Show them in full.
    Inspect(InspectArgs),
    /// Revoke them: who has one is refused from then on, also where a command is under way.
    Rm(RemoveArgs),
}

/// A token to make.
#[derive(Args, Debug)]
#[command(after_help = "A CI job that rolls out one service:\n\
    \x20   skep token create --role deploy --service web --image registry.example.com/web --expires 90d ci > token")]
pub struct CreateArgs {
    /// Its name: what is done with it is told by this, as token:NAME@ADDRESS.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What its bearer may do.
    #[arg(long, value_enum, default_value_t = RoleWord::Read)]
    pub role: RoleWord,
    /// With --role deploy: a service that it is for, by name; may be given several times.
    #[arg(long, value_name = "SERVICE")]
    pub service: Vec<String>,
    /// With --role deploy: images that it may roll out, as REPOSITORY or REPOSITORY:TAG; * stands for any characters but /. May
    /// be given several times; without it the image stays as it is.
    #[arg(long, value_name = "PATTERN")]
    pub image: Vec<ImagePattern>,
    /// With --role deploy: how many replicas it may ask for; without it their number stays as it is.
    #[arg(long, value_name = "MIN..MAX", value_parser = range)]
    pub replicas: Option<ReplicaRange>,
    /// It is refused after this long: 12h, 30d, or never [default: 30d].
    #[arg(long, value_name = "DURATION", value_parser = lasts)]
    pub expires: Option<Lasts>,
    /// Write it to this file, which must not be there, with mode 0600, in place of printing it.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What the bearer of a token may do.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleWord {
    /// All that can be done from outside.
    Admin,
    /// See everything but secrets.
    Read,
    /// Roll out new versions of the services that are named, and see how that goes.
    Deploy,
}

/// How long a token lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasts {
    /// So long.
    For(Duration),
    /// It has no end.
    Always,
}

impl Default for Lasts {
    fn default() -> Self {
        Self::For(LASTS)
    }
}

/// Reads `30d`, `1d12h`, `90m` or `never`.
fn lasts(text: &str) -> Result<Lasts, String> {
    if text == "never" {
        return Ok(Lasts::Always);
    }
    let wrong = || format!("\"{text}\" is no such time as 12h, 30d or never");
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) => (days.parse::<u32>().map_err(|_| wrong())?, rest),
        None => (0, text),
    };
    let rest = match rest {
        "" if days > 0 => Duration::ZERO,
        rest => unit::duration(rest).map_err(|_| wrong())?,
    };
    let total = DAY.checked_mul(days).and_then(|it| it.checked_add(rest));
    let total = total.filter(|total| *total >= Duration::from_secs(1));
    total.map(Lasts::For).ok_or_else(wrong)
}

/// Reads `MIN..MAX`, both included.
fn range(text: &str) -> Result<ReplicaRange, String> {
    let wrong = || format!("\"{text}\" is no range of replicas such as 2..10");
    let (least, most) = text.split_once("..").ok_or_else(wrong)?;
    let (least, most) = (least.parse().ok(), most.parse().ok());
    match (least, most) {
        (Some(least), Some(most)) if least <= most => Ok(ReplicaRange { least, most }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_days() {
        let hours = |hours: u64| Ok(Lasts::For(Duration::from_secs(hours * 3600)));
        assert_eq!(lasts("30d"), hours(720));
        assert_eq!(lasts("1d12h"), hours(36));
        assert_eq!(lasts("12h"), hours(12));
        assert_eq!(lasts("never"), Ok(Lasts::Always));
        assert_eq!(Ok(Lasts::default()), hours(720));
        for text in [
            "",
            "0",
            "0d",
            "d",
            "-1d",
            "30",
            "1d1d",
            "10ms",
            "4294967295d9",
        ] {
            assert!(lasts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_go_up() {
        assert_eq!(range("2..4"), Ok(ReplicaRange { least: 2, most: 4 }));
        assert_eq!(range("0..0"), Ok(ReplicaRange { least: 0, most: 0 }));
        for text in ["", "3", "4..2", "..", "1..", "a..b", "-1..2", "1...2"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
