//! How things are shown: tables for people, arrays of objects and templates for programs. Decides nothing.

pub mod aligned;
pub mod fields;
pub mod filter;
pub mod format;
pub mod progress;
pub mod size;
pub mod template;

use std::io::{self, Write};

use anyhow::{Context, bail};
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use serde_json::Value;

use crate::args::ListArgs;
pub use format::Format;
use template::Template;

/// Characters of an id in a table.
const SHORT_ID: usize = 12;
/// Characters of a message in a table.
const SHORT_TEXT: usize = 60;

/// A column: its heading and what stands in it. The flag says whether to show it whole.
pub type Column<T> = (&'static str, fn(&T, Width) -> String);

/// Whether a cell is shown whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// Ids and messages are cut.
    Short,
    /// Nothing is cut.
    Whole,
}

impl Width {
    /// An id, cut where asked for.
    pub fn id(self, id: &str) -> String {
        self.cut(id, SHORT_ID, "")
    }

    /// A message on one line, cut where asked for.
    pub fn text(self, text: &str) -> String {
        self.cut(&text.replace('\n', " "), SHORT_TEXT, "…")
    }

    fn cut(self, text: &str, most: usize, mark: &str) -> String {
        if self == Self::Whole || text.chars().count() <= most {
            return text.to_owned();
        }
        let kept = most - mark.chars().count();
        text.chars().take(kept).chain(mark.chars()).collect()
    }
}

/// Writes `text` and a line's end to the standard output. A reader that has gone away is no error.
///
/// # Errors
/// What the system says when it cannot write.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes `text` and a line's end to the standard error output.
pub fn notice(text: &str) {
    // Nobody is left to be told where even this cannot be written.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Asks at the terminal: no line ends behind the question.
///
/// # Errors
/// What the system says when it cannot write.
pub fn ask(question: &str) -> io::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(question.as_bytes())?;
    err.flush()
}

/// Prints those rows of a list that pass its filters, in the form asked for. `id` gives what `--quiet` prints.
///
/// # Errors
/// A filter or template that does not fit, and what the system says when it cannot write.
pub fn list<T: Serialize>(
    rows: &[T],
    columns: &[Column<T>],
    id: fn(&T) -> &str,
    args: &ListArgs,
) -> anyhow::Result<()> {
    let width = if args.no_trunc {
        Width::Whole
    } else {
        Width::Short
    };
    let rows = filter::pass(rows, &args.filter)?;
    if args.quiet {
        for row in rows {
            line(&width.id(id(row)))?;
        }
        return Ok(());
    }
    match &args.format {
        Format::Json => line(&serde_json::to_string_pretty(&rows)?)?,
        Format::Table => line(&table(rows, columns, width))?,
        Format::Template(template) => {
            for row in rows {
                line(&run(template, &fields::of(row, columns, width)?)?)?;
            }
        }
        Format::TableOf(template) => {
            let lines = lines_of(&rows, columns, template, width)?;
            line(&aligned::aligned(&lines))?;
        }
    }
    Ok(())
}

fn run(template: &Template, fields: &Value) -> anyhow::Result<String> {
    template.run(fields).context("--format")
}

/// The headings, then a line for each row.
fn lines_of<T: Serialize>(
    rows: &[&T],
    columns: &[Column<T>],
    template: &Template,
    width: Width,
) -> anyhow::Result<Vec<String>> {
    let fields = rows.iter().map(|row| fields::of(*row, columns, width));
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    let headings = match fields.first() {
        Some(first) => run(template, &fields::headings(first, columns))?,
        // Which fields there are besides the columns is not known without a row.
        None => template
            .run(&fields::headings(&fields::of_columns(columns), columns))
            .unwrap_or_default(),
    };
    let rows = fields.iter().map(|fields| run(template, fields));
    std::iter::once(Ok(headings)).chain(rows).collect()
}

/// `rows` as a table without lines, as Docker shows it.
pub fn table<'a, T: 'a>(
    rows: impl IntoIterator<Item = &'a T>,
    columns: &[Column<T>],
    width: Width,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| cell(row, width)));
    }
    let last = columns.len().saturating_sub(1);
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if number == last { 0 } else { 3 }));
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// Prints objects in full: JSON as it is, or as indented `key: value` lines.
///
/// # Errors
/// A template that does not fit, and what the system says when it cannot write.
pub fn objects<T: Serialize>(objects: &[T], format: Format) -> anyhow::Result<()> {
    let none = vec![Value::Null; objects.len()];
    inspected(objects, &none, format)
}

/// Prints objects in full; a template finds each one's fields in Docker's structure, and its own keys besides.
///
/// # Errors
/// A template that does not fit, and what the system says when it cannot write.
pub fn inspected<T: Serialize>(
    objects: &[T],
    docker: &[Value],
    format: Format,
) -> anyhow::Result<()> {
    match format {
        Format::Json => line(&serde_json::to_string_pretty(objects)?)?,
        Format::Table => {
            for object in objects {
                let mut text = String::new();
                outline(&serde_json::to_value(object)?, 0, &mut text);
                line(text.trim_end())?;
            }
        }
        Format::Template(template) => {
            for (object, docker) in objects.iter().zip(docker) {
                line(&run(&template, &fields::with(docker, object)?)?)?;
            }
        }
        Format::TableOf(_) => bail!("--format: \"table TEMPLATE\" is for lists"),
    }
    Ok(())
}

/// Adds `value` to `text` as lines indented by its depth; empty things are left out.
fn outline(value: &Value, depth: usize, text: &mut String) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        let indent = "  ".repeat(depth);
        match value {
            Value::Null => {}
            Value::Object(inner) if inner.is_empty() => {}
            Value::Array(items) if items.is_empty() => {}
            Value::Object(_) => {
                text.push_str(&format!("{indent}{key}:\n"));
                outline(value, depth + 1, text);
            }
            Value::Array(items) => {
                text.push_str(&format!("{indent}{key}:\n"));
                for item in items {
                    if item.is_object() {
                        outline(item, depth + 1, text);
                    } else {
                        text.push_str(&format!("{indent}  {}\n", plain(item)));
                    }
                }
            }
            _ => text.push_str(&format!("{indent}{key}: {}\n", plain(value))),
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
