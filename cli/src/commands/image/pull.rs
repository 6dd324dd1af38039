//! `skep image pull`: bars on a terminal, a line for each step of a layer elsewhere, in Docker's words.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use skep_proto::image::Image;
use skep_proto::wire::{self, v1};

use crate::args::image::PullArgs;
use crate::commands::client::{Client, said};
use crate::{login, output};

/// Digits of a digest that name a layer.
const SHORT: usize = 12;

/// Pulls an image to this node.
pub(super) async fn run(client: &Client, args: PullArgs) -> anyhow::Result<ExitCode> {
    let message = v1::PullRequest {
        name: args.name.clone(),
        auth: login::of_image(&args.name)?
            .as_ref()
            .map(v1::RegistryAuth::from),
    };
    let answer = client.images.clone().pull(message).await;
    let mut news = answer.map_err(|status| said(&status))?.into_inner();
    let mut shown = Shown::new(args.quiet);
    while let Some(message) = news.message().await.map_err(|status| said(&status))? {
        for layer in &message.layers {
            shown.layer(layer)?;
        }
        let Some(image) = message.image else { continue };
        let image = Image::try_from(image)?;
        shown.end();
        if !args.quiet {
            output::line(&format!("Digest: {}", image.digest))?;
            output::line(&match message.present {
                true => format!("Status: Image is up to date for {}", image.name),
                false => format!("Status: Downloaded newer image for {}", image.name),
            })?;
        }
        output::line(&image.name)?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(anyhow::anyhow!(
        "the daemon ended before the image was here; pull again: what came is kept"
    ))
}

/// How far the layers are, as it is shown.
enum Shown {
    Quiet,
    Bars(MultiProgress, BTreeMap<Vec<u8>, ProgressBar>),
    Lines(BTreeMap<Vec<u8>, &'static str>),
}

impl Shown {
    fn new(quiet: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Bars(
                MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
                BTreeMap::new(),
            ),
            (false, false) => Self::Lines(BTreeMap::new()),
        }
    }

    fn layer(&mut self, layer: &v1::LayerProgress) -> anyhow::Result<()> {
        let words = words(layer.phase());
        let digest = wire::digest(&layer.digest, "layer")?;
        let short: String = digest.hex().chars().take(SHORT).collect();
        match self {
            Self::Quiet => {}
            Self::Bars(all, bars) => {
                let bar = bars.entry(layer.digest.clone()).or_insert_with(|| {
                    let bar = ProgressBar::new(layer.size).with_style(style());
                    all.add(bar.with_prefix(short))
                });
                bar.set_position(layer.fetched);
                bar.set_message(words);
            }
            Self::Lines(last) => {
                if last.insert(layer.digest.clone(), words) != Some(words) {
                    output::line(&format!("{short}: {words}"))?;
                }
            }
        }
        Ok(())
    }

    fn end(&self) {
        if let Self::Bars(_, bars) = self {
            for bar in bars.values() {
                bar.abandon();
            }
        }
    }
}

fn words(phase: v1::LayerPhase) -> &'static str {
    match phase {
        v1::LayerPhase::Fetching => "Downloading",
        v1::LayerPhase::Unpacking => "Extracting",
        v1::LayerPhase::Done => "Pull complete",
        v1::LayerPhase::Present => "Already exists",
        v1::LayerPhase::Waiting | v1::LayerPhase::Unspecified => "Waiting",
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix}: {msg:14} [{bar:30}] {bytes}/{total_bytes}";
    ProgressStyle::with_template(template)
        .context("a template")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
