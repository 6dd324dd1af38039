//! `skep events`: shows what happens, and goes on where it was when a manager goes away.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use skep_proto::event::Event;
use skep_proto::wire::v1;
use skep_proto::wire::v1::events_answer::Answer;
use skep_proto::wire::v1::moment::{Moment as WireMoment, Revision};

use super::client::{Client, persist, repeats, said};
use crate::args::events::{EventsArgs, Moment};
use crate::output::{self, Format};

/// The template for which Docker prints what it prints for `json`.
const WHOLE: &str = "{{json .}}";

/// Shows events until there are no more to come.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, args: EventsArgs) -> anyhow::Result<ExitCode> {
    let mut request = v1::EventsRequest {
        since: args.since.map(moment),
        until: args.until.map(moment),
        filters: filters(&args.filter)?,
    };
    loop {
        let mut stream = persist(|| {
            let (mut control, request) = (client.control.clone(), request.clone());
            async move { control.events(request).await }
        })
        .await?;
        loop {
            match stream.message().await {
                Ok(Some(answer)) => {
                    if let Some(looked) = show(answer, args.format.as_ref())? {
                        request.since = Some(v1::Moment {
                            moment: Some(WireMoment::Revision(looked)),
                        });
                    }
                }
                Ok(None) => return Ok(ExitCode::SUCCESS),
                // The manager that was asked went away: go on with whoever answers now.
                Err(status) if repeats(&status) => break,
                Err(status) => return Err(said(&status)),
            }
        }
    }
}

fn moment(moment: Moment) -> v1::Moment {
    let moment = match moment {
        Moment::Wall(at) => WireMoment::WallMs(at.unix_millis()),
        Moment::Revision(revision, position) => {
            WireMoment::Revision(Revision { revision, position })
        }
    };
    v1::Moment {
        moment: Some(moment),
    }
}

fn filters(texts: &[String]) -> anyhow::Result<Vec<v1::EventFilter>> {
    let read = output::filter::read(texts)?;
    let pairs = read.into_iter().flat_map(|(key, values)| {
        values.into_iter().map(move |value| v1::EventFilter {
            key: key.clone(),
            value,
        })
    });
    Ok(pairs.collect())
}

/// Shows an answer; gives how far it went.
fn show(answer: v1::EventsAnswer, format: Option<&Format>) -> anyhow::Result<Option<Revision>> {
    match answer.answer.context("an answer without events")? {
        Answer::Gone(revision) => {
            output::notice(&format!(
                "Some older events are gone: managers keep the last 16384, for 24 hours; none up to revision \
                 {revision} are left"
            ));
            Ok(None)
        }
        Answer::Batch(batch) => {
            for event in batch.events {
                output::line(&shown(&Event::try_from(event)?, format)?)?;
            }
            Ok(batch.looked)
        }
    }
}

fn shown(event: &Event, format: Option<&Format>) -> anyhow::Result<String> {
    match format {
        None | Some(Format::Table) => Ok(line(event)),
        Some(Format::Json) => Ok(json(event).to_string()),
        Some(Format::Template(template)) if template.text().trim() == WHOLE => {
            Ok(json(event).to_string())
        }
        Some(Format::Template(template)) => template.run(&fields(event)).context("--format"),
        Some(Format::TableOf(_)) => {
            anyhow::bail!("--format: events are told line by line; leave out \"table\"")
        }
    }
}

/// What is told of an event: its attributes, who asked for it, and its revision.
fn told(event: &Event) -> BTreeMap<String, String> {
    let mut told = event.attributes.clone();
    if !event.by.is_empty() {
        told.insert("by".into(), event.by.clone());
    }
    told.insert(
        "revision".into(),
        format!("{}.{}", event.revision, event.position),
    );
    told
}

/// As Docker writes it: `TIME TYPE ACTION ID (name=value, …)`.
fn line(event: &Event) -> String {
    let told = told(event);
    let told: Vec<String> = told
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{} {} {} {} ({})",
        clock(event),
        event.kind,
        event.action,
        event.id,
        told.join(", ")
    )
}

/// The local time, to the nanosecond as Docker writes it.
fn clock(event: &Event) -> String {
    let millis = i64::try_from(event.at.unix_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).map_or_else(
        |_| String::new(),
        |at| {
            let zoned = at.to_zoned(TimeZone::system());
            let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string();
            text.replace("+00:00", "Z")
        },
    )
}

fn nanos(event: &Event) -> u64 {
    event.at.unix_millis().saturating_mul(1_000_000)
}

/// One line of JSON, with Docker's keys; `revision`, `position` and `by` are ours.
fn json(event: &Event) -> Value {
    json!({
        "Type": event.kind.to_string(),
        "Action": event.action.to_string(),
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "scope": "swarm",
        "time": event.at.unix_millis() / 1000,
        "timeNano": nanos(event),
        "revision": event.revision,
        "position": event.position,
        "by": event.by,
    })
}

/// What templates find, by Docker's field names.
fn fields(event: &Event) -> Value {
    json!({
        "Type": event.kind.to_string(),
        "Action": event.action.to_string(),
        "Status": event.action.to_string(),
        "ID": event.id,
        "From": event.attributes.get("image").cloned().unwrap_or_default(),
        "Actor": { "ID": event.id, "Attributes": told(event) },
        "Scope": "swarm",
        "Time": event.at.unix_millis() / 1000,
        "TimeNano": nanos(event),
        "Revision": event.revision,
        "Position": event.position,
        "By": event.by,
        "Labels": event.labels,
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::event::{Action, EventKind};
    use skep_proto::time::{ClusterTime, WallTime};

    use super::*;

    fn event() -> Event {
        Event {
            revision: 17,
            position: 2,
            time: ClusterTime::ZERO,
            at: WallTime::from_unix_millis(1_700_000_000_123),
            by: "anna@n1".into(),
            kind: EventKind::Service,
            action: Action::Update,
            id: "abc".into(),
            attributes: [("name", "web"), ("replicas.new", "3")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn a_line_is_dockers_with_who_and_revision() {
        let line = line(&event());
        assert!(line.contains(".123000000"), "{line}");
        assert!(
            line.ends_with(
                " service update abc (by=anna@n1, name=web, replicas.new=3, revision=17.2)"
            ),
            "{line}"
        );
    }

    #[test]
    fn templates_and_json_have_dockers_names() {
        let format = |text: &str| {
            let format: Format = text.parse().expect("a format");
            shown(&event(), Some(&format)).expect("text")
        };
        assert_eq!(
            format(
                "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Time}} {{.By}}"
            ),
            "service update abc web 1700000000 anna@n1"
        );
        assert_eq!(format("{{json .}}"), format("json"));
        let value: Value = serde_json::from_str(&format("json")).expect("JSON");
        assert_eq!(value["Actor"]["Attributes"]["replicas.new"], "3");
        assert_eq!(value["timeNano"], 1_700_000_000_123_000_000u64);
        assert_eq!(value["revision"], 17);
    }
}
