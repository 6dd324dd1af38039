//! Reads the file of a game day, and refuses it before anything happens.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Deserialize;
use skep_proto::drill::{DrillKind, Fill, LASTS_AT_MOST};

use super::super::probe::{self, Probe};
use super::super::{Wanted, kind_of};
use crate::args::drill::{KindArg, MeasureArgs, ReportForm};
use crate::args::read;

/// Steps of a game day at most.
const STEPS: usize = 64;
/// A pause is no longer than this.
const PAUSE_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of a file that are read.
const LARGEST: u64 = 1 << 20;
/// Where nothing else is written: the same as of a single drill.
const LASTS: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(60);
const MAX_RECOVERY: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const RATE: u32 = 20;
/// Requests a second are between these.
const RATES: std::ops::RangeInclusive<u32> = 1..=200;

/// A game day, ready to be held.
#[derive(Debug)]
pub struct Script {
    /// Its name; may be empty.
    pub name: String,
    /// What is done, in its order; at least one.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Debug)]
pub struct Step {
    /// Which drill.
    pub wanted: Wanted,
    /// Before it.
    pub pause: Duration,
    /// A drill that would be refused is looked at again for so long.
    pub wait: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ScriptForm {
    #[serde(default)]
    name: String,
    pause: Option<Span>,
    wait: Option<Span>,
    #[serde(rename = "for")]
    lasts: Option<Span>,
    max_recovery: Option<Span>,
    max_lost: Option<u64>,
    probe: Option<Vec<Place>>,
    no_probe: Option<bool>,
    rate: Option<u32>,
    probe_timeout: Option<Span>,
    #[serde(default, rename = "step")]
    steps: Vec<StepForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StepForm {
    drill: Kind,
    target: Option<String>,
    pause: Option<Span>,
    wait: Option<Span>,
    #[serde(rename = "for")]
    lasts: Option<Span>,
    max_recovery: Option<Span>,
    max_lost: Option<u64>,
    probe: Option<Vec<Place>>,
    no_probe: Option<bool>,
    rate: Option<u32>,
    probe_timeout: Option<Span>,
    reserve: Option<Size>,
    allow_shared: Option<bool>,
}

/// A duration as flags write it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Span(Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        read::duration(&text).map(Self)
    }
}

/// A size as flags write it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Size(u64);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        read::bytes(&text).map(Self)
    }
}

/// A place to ask, as `--probe` writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Place(Probe);

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        probe::read(&text).map(Self)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Kind(DrillKind);

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = KindArg::from_str(&text, false);
        found.map(|kind| Self(kind_of(kind))).map_err(|_| {
            let all: Vec<String> = DrillKind::ALL.iter().map(ToString::to_string).collect();
            format!("\"{text}\" is no drill; expected one of {}", all.join(", "))
        })
    }
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it, where, and what is expected.
pub fn load(file: &Path) -> anyhow::Result<Script> {
    let named = || format!("the game day {}", file.display());
    let length = std::fs::metadata(file).with_context(named)?.len();
    if length > LARGEST {
        bail!("{} has {length} bytes: that is no game day", named());
    }
    let text = std::fs::read_to_string(file).with_context(named)?;
    parse(&text).with_context(|| format!("{} is wrong", named()))
}

/// Reads what is in a file.
///
/// # Errors
/// What is wrong with it, where, and what is expected.
pub fn parse(text: &str) -> anyhow::Result<Script> {
    let form: ScriptForm = toml::from_str(text)?;
    match form.steps.len() {
        0 => bail!("it has no steps; write each as [[step]] with drill = \"KIND\""),
        count if count > STEPS => bail!("it has {count} steps; at most {STEPS} are held"),
        _ => {}
    }
    let steps = form.steps.iter().enumerate().map(|(place, step)| {
        let number = place.saturating_add(1);
        of_form(&form, step).with_context(|| format!("step {number} ({})", step.drill.0))
    });
    Ok(Script {
        steps: steps.collect::<Result<_, _>>()?,
        name: form.name,
    })
}

fn of_form(all: &ScriptForm, step: &StepForm) -> anyhow::Result<Step> {
    let kind = step.drill.0;
    if kind == DrillKind::Leader && step.target.is_some() {
        bail!("target: a drill of the leader takes none: whoever leads is taken");
    }
    if kind != DrillKind::Disk && (step.reserve.is_some() || step.allow_shared.is_some()) {
        bail!("reserve, allow-shared: a drill of kind {kind} fills no disk; leave them out");
    }
    if !kind.lasts() && step.lasts.is_some() {
        bail!("for: a drill of kind {kind} does not last; leave it out");
    }
    let or = |own: Option<Span>, of_all: Option<Span>, default: Duration| {
        own.or(of_all).map_or(default, |span| span.0)
    };
    let lasts = match kind.lasts() {
        true => or(step.lasts, all.lasts, LASTS),
        false => Duration::ZERO,
    };
    if kind.lasts() && !(Duration::from_secs(1)..=LASTS_AT_MOST).contains(&lasts) {
        bail!(
            "for: a failure lasts between 1 s and {} s",
            LASTS_AT_MOST.as_secs()
        );
    }
    let (pause, wait) = (
        or(step.pause, all.pause, PAUSE),
        or(step.wait, all.wait, WAIT),
    );
    if pause.max(wait) > PAUSE_AT_MOST {
        bail!(
            "pause, wait: at most {} h",
            PAUSE_AT_MOST.as_secs() / 60 / 60
        );
    }
    Ok(Step {
        wanted: Wanted {
            kind,
            target: step.target.clone(),
            lasts,
            fill: (kind == DrillKind::Disk).then(|| Fill {
                reserve: step.reserve.map_or(0, |size| size.0),
                shared: step.allow_shared.unwrap_or_default(),
            }),
            measure: measured(all, step)?,
        },
        pause,
        wait,
    })
}

fn measured(all: &ScriptForm, step: &StepForm) -> anyhow::Result<MeasureArgs> {
    let or = |own: Option<Span>, of_all: Option<Span>, default: Duration| {
        own.or(of_all).map_or(default, |span| span.0)
    };
    // What a step says itself counts before what the file says of all.
    let asks = step.probe.is_some() || step.max_lost.is_some();
    let no_probe = step.no_probe.unwrap_or(!asks && all.no_probe == Some(true));
    if no_probe && asks {
        bail!("no-probe: nothing is asked then; leave out probe and max-lost");
    }
    let places = step.probe.as_ref().or(all.probe.as_ref());
    let places = places.filter(|_| !no_probe);
    let rate = step.rate.or(all.rate).unwrap_or(RATE);
    if !RATES.contains(&rate) {
        bail!(
            "rate: {rate} requests a second; between {} and {} are made",
            RATES.start(),
            RATES.end()
        );
    }
    Ok(MeasureArgs {
        max_recovery: or(step.max_recovery, all.max_recovery, MAX_RECOVERY),
        max_lost: step.max_lost.or(all.max_lost).filter(|_| !no_probe),
        probe: places.map_or_else(Vec::new, |places| {
            places.iter().map(|place| place.0.clone()).collect()
        }),
        no_probe,
        rate,
        probe_timeout: or(step.probe_timeout, all.probe_timeout, PROBE_TIMEOUT),
        output: ReportForm::Text,
        report: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        name = "May"
        max-recovery = "20s"
        max-lost = 0
        pause = "1m"

        [[step]]
        drill = "task"
        target = "web"
        pause = "0s"

        [[step]]
        drill = "link"
        for = "30s"
        max-recovery = "10s"
        probe = ["http://:8080/"]

        [[step]]
        drill = "leader"
        no-probe = true

        [[step]]
        drill = "disk"
        reserve = "1m"
    "#;

    #[test]
    fn what_is_said_of_all_counts_where_a_step_says_nothing() {
        let script = parse(WHOLE).unwrap();
        assert_eq!(script.name, "May");
        let told = script.steps.iter().map(|step| {
            let wanted = &step.wanted;
            let secs = |it: Duration| it.as_secs();
            (
                wanted.kind,
                secs(wanted.lasts),
                secs(wanted.measure.max_recovery),
                wanted.measure.max_lost,
                secs(step.pause),
                wanted.measure.probe.len(),
            )
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (DrillKind::Task, 0, 20, Some(0), 0, 0),
                (DrillKind::Link, 30, 10, Some(0), 60, 1),
                (DrillKind::Leader, 15, 20, None, 60, 0),
                (DrillKind::Disk, 15, 20, Some(0), 60, 0),
            ]
        );
        assert!(script.steps[2].wanted.measure.no_probe);
        let fill = script.steps[3].wanted.fill.unwrap();
        assert_eq!((fill.reserve, fill.shared), (1 << 20, false));
        assert_eq!(script.steps[0].wanted.target.as_deref(), Some("web"));
    }

    #[test]
    fn the_example_is_read() {
        let script = parse(include_str!("../../../../../deploy/examples/game-day.toml")).unwrap();
        assert_eq!(script.steps.len(), 4);
        assert_eq!(script.steps[1].wanted.measure.max_lost, Some(0));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_is_expected() {
        let step = "[[step]]\ndrill = \"link\"\n";
        for (text, why) in [
            ("", "it has no steps"),
            ("[[step]]\ntarget = \"web\"", "missing field `drill`"),
            (
                "[[step]]\ndrill = \"disc\"",
                "\"disc\" is no drill; expected one of task",
            ),
            (&format!("{step}fro = \"3s\""), "unknown field `fro`"),
            (&format!("{step}for = \"soon\""), "soon"),
            (&format!("{step}for = \"2h\""), "step 1 (link)"),
            (&format!("{step}rate = 0"), "between 1 and 200"),
            (
                &format!("{step}probe = [\"https://a/\"]"),
                "http://HOST:PORT/PATH",
            ),
            (
                &format!("{step}no-probe = true\nmax-lost = 1"),
                "leave out probe",
            ),
            (&format!("{step}pause = \"90h\""), "at most 24 h"),
            (
                "[[step]]\ndrill = \"leader\"\ntarget = \"n1\"",
                "whoever leads",
            ),
            ("[[step]]\ndrill = \"task\"\nfor = \"3s\"", "does not last"),
            (&format!("{step}reserve = \"1m\""), "fills no disk"),
            (&step.repeat(STEPS + 1), "at most 64"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(why), "{text}: no \"{why}\" in {error}");
        }
    }
}
