//! `skep service logs`, `skep task logs` and `skep container logs`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use skep_proto::ids::{NodeId, ServiceId, TaskId};
use skep_proto::wire::v1::logs_answer::What;
use skep_proto::wire::{self, v1};
use tonic::Response;

use super::client::{Client, said};
use crate::args::streams::LogsArgs;
use crate::output;

/// Characters of an id in front of a line.
const SHORT_ID: usize = 12;

/// What is meant by the references.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Services, or else tasks.
    Services,
    /// Tasks.
    Tasks,
}

/// Shows logs of the cluster.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, args: LogsArgs, of: Of) -> anyhow::Result<ExitCode> {
    let request = v1::LogsRequest {
        references: args.objects.clone(),
        range: Some(range(&args)),
        tasks: of == Of::Tasks,
    };
    let answers = client.streams.clone().logs(request).await;
    let mut answers = answers
        .map(Response::into_inner)
        .map_err(|status| said(&status))?;
    let (mut sources, mut lines) = (BTreeMap::new(), Lines::default());
    let mut complete = true;
    while let Some(answer) = answers.message().await.map_err(|status| said(&status))? {
        match answer.what {
            Some(What::Source(source)) => {
                sources.insert(source.number, Front::new(&source, &args)?);
            }
            Some(What::Records(records)) => {
                let mut out = Vec::new();
                for record in &records.records {
                    if let Some(front) = sources.get(&record.source) {
                        lines.show(&mut out, record, front, &args);
                    }
                }
                if !written(&out, &[])? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            Some(What::Notice(text)) => {
                complete = false;
                output::notice(&format!("Warning: {text}"));
            }
            None => {}
        }
    }
    // What could not be read was named; a script may want to know.
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Shows logs of containers on this node, one after the other.
///
/// # Errors
/// What the user is to read.
pub async fn of_containers(client: &Client, args: LogsArgs) -> anyhow::Result<ExitCode> {
    for reference in &args.objects {
        let request = v1::ContainerLogsRequest {
            reference: reference.clone(),
            range: Some(range(&args)),
        };
        let answers = client.containers.clone().logs(request).await;
        let mut answers = answers
            .map(Response::into_inner)
            .map_err(|status| said(&status))?;
        let front = Front::default();
        let (mut outputs, mut failures) = (Lines::default(), Lines::default());
        while let Some(answer) = answers.message().await.map_err(|status| said(&status))? {
            let (mut out, mut errors) = (Vec::new(), Vec::new());
            for record in &answer.records {
                match record.stream() {
                    v1::OutputStream::Stderr => failures.show(&mut errors, record, &front, &args),
                    _ => outputs.show(&mut out, record, &front, &args),
                }
            }
            if !written(&out, &errors)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn range(args: &LogsArgs) -> v1::LogRange {
    v1::LogRange {
        follow: args.follow,
        tail: args.tail.0,
        since_ns: args.since,
        until_ns: args.until,
    }
}

/// False if nobody reads any more.
fn written(out: &[u8], errors: &[u8]) -> io::Result<bool> {
    let write =
        |mut to: Box<dyn Write>, bytes: &[u8]| to.write_all(bytes).and_then(|()| to.flush());
    let both = write(Box::new(io::stdout().lock()), out)
        .and_then(|()| write(Box::new(io::stderr().lock()), errors));
    match both {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// What stands in front of each line of a source.
#[derive(Default)]
struct Front {
    task: String,
    details: String,
}

impl Front {
    fn new(source: &v1::LogSource, args: &LogsArgs) -> anyhow::Result<Self> {
        let cut = |id: String| -> String {
            let most = if args.no_trunc { id.len() } else { SHORT_ID };
            id.chars().take(most).collect()
        };
        let task = wire::id::<TaskId>(&source.task, "task")?.to_string();
        let service = wire::id::<ServiceId>(&source.service, "service")?.to_string();
        let node = wire::id::<NodeId>(&source.node, "node")?.to_string();
        let details = format!("skep.node.id={node},skep.service.id={service},skep.task.id={task} ");
        let (name, place) = if args.no_resolve {
            let slot = source.name.rsplit('.').next().unwrap_or_default();
            (format!("{}.{slot}", cut(service)), cut(node))
        } else {
            (source.name.clone(), source.node_name.clone())
        };
        let id = if args.no_task_ids {
            String::new()
        } else {
            format!(".{}", cut(task))
        };
        Ok(Self {
            task: format!("{name}{id}@{place} | "),
            details,
        })
    }
}

/// Lines of one output, of which pieces may come apart.
#[derive(Default)]
struct Lines {
    /// The source whose line has not ended.
    open: Option<u32>,
}

impl Lines {
    fn show(&mut self, out: &mut Vec<u8>, record: &v1::LogRecord, front: &Front, args: &LogsArgs) {
        let goes_on = self.open == Some(record.source);
        if self.open.is_some() && !goes_on {
            out.push(b'\n');
        }
        if !goes_on {
            if args.timestamps {
                out.extend_from_slice(stamp(record.at_ns).as_bytes());
                out.push(b' ');
            }
            if !args.raw {
                out.extend_from_slice(front.task.as_bytes());
            }
            if args.details {
                out.extend_from_slice(front.details.as_bytes());
            }
        }
        out.extend_from_slice(&record.line);
        self.open = (!record.line.ends_with(b"\n")).then_some(record.source);
    }
}

/// A time such as `2026-03-01T12:00:00.000000001Z`, always as wide.
fn stamp(at_ns: u64) -> String {
    let found = Timestamp::from_nanosecond(at_ns.into());
    found.map_or_else(|_| at_ns.to_string(), |stamp| format!("{stamp:.9}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn args(options: &[&str]) -> LogsArgs {
        let words = ["skep", "service", "logs"]
            .iter()
            .chain(options)
            .chain(&["web"]);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Service(crate::args::service::ServiceCommand::Logs(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    fn record(source: u32, line: &str) -> v1::LogRecord {
        v1::LogRecord {
            source,
            at_ns: 1,
            stream: v1::OutputStream::Stdout.into(),
            line: line.as_bytes().to_vec(),
        }
    }

    fn source() -> v1::LogSource {
        v1::LogSource {
            number: 0,
            task: vec![0; 16],
            node: vec![0; 16],
            service: vec![0; 16],
            name: "web.1".into(),
            node_name: "node-1".into(),
        }
    }

    fn check(options: &[&str], expected: &str) {
        let args = args(options);
        let front = Front::new(&source(), &args).unwrap();
        let mut out = Vec::new();
        Lines::default().show(&mut out, &record(0, "hello\n"), &front, &args);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{options:?}");
    }

    #[test]
    fn lines_bear_what_the_options_say() {
        let (short, long) = ("0".repeat(12), "0".repeat(25));
        check(&[], &format!("web.1.{short}@node-1 | hello\n"));
        check(&["--no-trunc"], &format!("web.1.{long}@node-1 | hello\n"));
        check(&["--no-task-ids"], "web.1@node-1 | hello\n");
        check(&["--raw"], "hello\n");
        check(&["--raw", "-t"], "1970-01-01T00:00:00.000000001Z hello\n");
        check(
            &["--no-resolve", "--no-task-ids"],
            &format!("{short}.1@{short} | hello\n"),
        );
        let details = format!("skep.node.id={long},skep.service.id={long},skep.task.id={long}");
        check(&["--raw", "--details"], &format!("{details} hello\n"));
    }

    #[test]
    fn pieces_of_a_line_stay_together_and_apart_from_others() {
        let args = args(&["--no-task-ids"]);
        let front = Front::new(&source(), &args).unwrap();
        let (mut out, mut lines) = (Vec::new(), Lines::default());
        for (from, line) in [(0, "one "), (0, "line\n"), (0, "cut"), (1, "other\n")] {
            lines.show(&mut out, &record(from, line), &front, &args);
        }
        let expected = "web.1@node-1 | one line\nweb.1@node-1 | cut\nweb.1@node-1 | other\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
