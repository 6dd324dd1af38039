//! `skep completion` and `skep man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which shell to complete for.
#[derive(Args, Debug, Clone, Copy)]
#[command(after_help = "Now:      source <(skep completion bash)\n\
    For good: skep completion bash > /usr/share/bash-completion/completions/skep\n\
    \x20         skep completion zsh > /usr/share/zsh/vendor-completions/_skep\n\
    \x20         skep completion fish > /usr/share/fish/vendor_completions.d/skep.fish")]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that can be helped along.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash, 4.4 or newer.
    Bash,
    /// The Z shell.
    Zsh,
    /// Fish.
    Fish,
}

/// Where manual pages go.
#[derive(Args, Debug, Clone)]
pub struct ManArgs {
    /// Write the pages of all commands into this directory, which is made; without it, that of skep itself is printed.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
