//! `skep image`, `skep login`, `skep logout`, and where a service's image comes from.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{InspectArgs, ListArgs};

/// What containers are made from.
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// Pull an image from its registry to this node.
    Pull(PullArgs),
    /// List the images of the cluster and of this node.
    Ls(ListArgs),
    /// Show images of this node in full.
    Inspect(InspectArgs),
    /// Show how an image of this node was made.
    History(HistoryArgs),
    /// Give an image of this node one more name.
    Tag(TagArgs),
    /// Remove images from this node.
    Rm(RmArgs),
    /// Remove the images of this node that nothing uses.
    Prune(PruneArgs),
    /// Show what the images of this node take on disk.
    Df(DfArgs),
    /// Save images of this node to an archive.
    Save(SaveArgs),
    /// Load an archive: an OCI layout, or what `docker save` wrote.
    Load(LoadArgs),
    /// Make an image of the root file system in a tar archive.
    Import(ImportArgs),
}

/// An image to pull.
#[derive(Args, Debug)]
pub struct PullArgs {
    /// `NAME[:TAG][@DIGEST]`
    pub name: String,
    /// Only the name.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Whose making to show.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// Name or digest.
    pub image: String,
    /// How to print it.
    #[command(flatten)]
    pub list: ListArgs,
}

/// A name to give.
#[derive(Args, Debug)]
pub struct TagArgs {
    /// Name or digest of the image.
    pub source: String,
    /// Its new name.
    pub target: String,
}

/// Images to remove.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Names, digests, or beginnings of digests.
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// All names of an image at once.
    #[arg(long, short)]
    pub force: bool,
}

/// Which images to remove.
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Also images that have a name.
    #[arg(long, short)]
    pub all: bool,
    /// Do not ask first.
    #[arg(long, short)]
    pub force: bool,
}

/// How to show what images take.
#[derive(Args, Debug)]
pub struct DfArgs {
    /// How to print it.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Images to save.
#[derive(Args, Debug)]
pub struct SaveArgs {
    /// Names or digests.
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// The archive; the standard output by default.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// An archive to load.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// The archive; the standard input by default.
    #[arg(long, short, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Only the names.
    #[arg(long, short)]
    pub quiet: bool,
}

/// A root file system to make an image of.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The archive; `-` is the standard input.
    pub file: PathBuf,
    /// Name of the image, with its tag.
    pub name: String,
}

/// A registry to log in to.
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The registry [default: docker.io].
    pub server: Option<String>,
    /// Who.
    #[arg(long, short, value_name = "NAME")]
    pub username: Option<String>,
    /// The password; others on this machine can see it, so better use --password-stdin.
    #[arg(
        long,
        short,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    pub password: Option<String>,
    /// Take the password from the standard input.
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
}

/// A registry to log out of.
#[derive(Args, Debug)]
pub struct LogoutArgs {
    /// The registry [default: docker.io].
    pub server: Option<String>,
}

/// When a node asks the registry for a service's image.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullArg {
    /// When it does not hold the content.
    Missing,
    /// For each task.
    Always,
    /// Never.
    Never,
}

/// Where a service's image comes from.
#[derive(Args, Debug, Clone)]
pub struct OriginArgs {
    /// When a node asks the registry for the image [default: missing].
    #[arg(long, value_enum, value_name = "WHEN")]
    pub pull: Option<PullArg>,
    /// Give the login for the image's registry to the nodes that run the service.
    #[arg(long)]
    pub with_registry_auth: bool,
    /// Let each node find out what the image's tag means.
    #[arg(long)]
    pub no_resolve_image: bool,
}
