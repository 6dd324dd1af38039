//! Reads compose files from this machine.

use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use skep_deploy::stack::{Project, Request, Surroundings, Wanted, convert};

use crate::args::stack::FileArgs;
use crate::output;

/// Bytes of one file that are read at most.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

fn surroundings() -> anyhow::Result<Surroundings<'static>> {
    // What is not UTF-8 cannot stand in a compose file.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Surroundings {
        read: &read_file,
        variables: variables.collect(),
        directory: std::env::current_dir().context("cannot tell the working directory")?,
    })
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.file_name().is_some_and(|name| name == "-") {
        io::stdin()
            .lock()
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let file = std::fs::File::open(path)?;
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The project that the files describe; warnings are shown.
pub fn read(args: &FileArgs) -> anyhow::Result<Project> {
    let request = Request {
        files: args.files.clone(),
        env_files: args.env_files.clone(),
        profiles: args.profiles.iter().cloned().collect(),
    };
    let project = Project::load(&request, &surroundings()?)?;
    for warning in &project.warnings {
        output::notice(&format!("Warning: {warning}"));
    }
    Ok(project)
}

/// What the project asks of a cluster as stack `stack`.
pub fn wanted(stack: &str, project: &Project) -> anyhow::Result<Wanted> {
    Ok(convert(stack, project, &surroundings()?)?)
}
