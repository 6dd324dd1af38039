//! From YAML to trees: anchors, merge keys and tags are resolved, a key that stands twice is refused. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};

use super::tree::{Entry, Map, Mark, Node, Value};
use crate::stack::place::{Place, Trouble};

/// Values of one file, those of anchors counted at each use: a few lines of aliases of aliases can mean billions.
const MOST_VALUES: usize = 200_000;

/// Reads the documents of a file.
///
/// # Errors
/// Where YAML's rules are broken, a key stands twice, or aliases grow without bound.
pub fn parse(file: &str, text: &str) -> Result<Vec<Node>, Trouble> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        file: file.into(),
        anchors: BTreeMap::new(),
        values: 0,
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) => {}
            Event::DocumentEnd => reader.anchors.clear(),
            event => documents.push(reader.node(event, &span)?),
        }
    }
    Ok(documents)
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    file: Arc<str>,
    anchors: BTreeMap<usize, Node>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Trouble> {
        let event = self.events.next_event().transpose();
        event.map_err(|error| {
            let marker = error.marker();
            let at = Place {
                file: self.file.clone(),
                line: marker.line(),
                column: marker.col() + 1,
            };
            Trouble::new(&at, format!("this is not YAML: {}", error.info()))
        })
    }

    fn more(&mut self, at: &Place) -> Result<(Event<'a>, Span), Trouble> {
        self.next()?
            .ok_or_else(|| Trouble::new(at, "the file ends within this"))
    }

    fn place(&self, span: &Span) -> Place {
        Place {
            file: self.file.clone(),
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, Trouble> {
        let at = self.place(span);
        self.count(&at, 1)?;
        let (value, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let texts = tag
                    .as_deref()
                    .is_some_and(|tag| core_name(tag) == Some("str"));
                let quoted = style != ScalarStyle::Plain || texts;
                let null = !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let text = text.into_owned();
                let value = if null {
                    Value::Null
                } else {
                    Value::Text { text, quoted }
                };
                (value, anchor, tag)
            }
            Event::SequenceStart(_, anchor, tag) => (self.list(&at)?, anchor, tag),
            Event::MappingStart(_, anchor, tag) => (self.map(&at)?, anchor, tag),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Trouble::new(&at, "this alias stands within its own anchor"));
                };
                self.count(&at, size(&node))?;
                return Ok(node);
            }
            _ => return Err(Trouble::new(&at, "expected a value")),
        };
        let mark = tag.map_or(Ok(Mark::Merge), |tag| mark(&tag, &at))?;
        let node = Node { at, value, mark };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, at: &Place, values: usize) -> Result<(), Trouble> {
        self.values = self.values.saturating_add(values);
        if self.values > MOST_VALUES {
            let text = format!("aliases make more than {MOST_VALUES} values of this file");
            return Err(Trouble::new(at, text));
        }
        Ok(())
    }

    fn list(&mut self, at: &Place) -> Result<Value, Trouble> {
        let mut list = Vec::new();
        loop {
            match self.more(at)? {
                (Event::SequenceEnd, _) => return Ok(Value::List(list)),
                (event, span) => list.push(self.node(event, &span)?),
            }
        }
    }

    fn map(&mut self, at: &Place) -> Result<Value, Trouble> {
        let (mut map, mut below) = (Map::new(), Vec::new());
        loop {
            let (key, span) = match self.more(at)? {
                (Event::MappingEnd, _) => break,
                (event, span) => (self.node(event, &span)?, span),
            };
            let (event, value_span) = self.more(at)?;
            let node = self.node(event, &value_span)?;
            let at = self.place(&span);
            let Value::Text { text, quoted } = key.value else {
                return Err(Trouble::new(
                    &at,
                    format!("a key must be a text, this is {}", key.kind()),
                ));
            };
            if text == "<<" && !quoted {
                below.push(node);
                continue;
            }
            if let Some(before) = map.get(&text).map(|entry: &Entry| &entry.at) {
                return Err(Trouble::new(
                    &at,
                    format!("\"{text}\" stands here twice, first at {before}; remove one"),
                ));
            }
            map.insert(text, Entry { at, node });
        }
        for node in below {
            merge_below(&mut map, node)?;
        }
        Ok(Value::Map(map))
    }
}

/// `<<`: adds what is not said yet.
fn merge_below(map: &mut Map, below: Node) -> Result<(), Trouble> {
    match below.value {
        Value::Map(entries) => {
            for (key, entry) in entries {
                map.entry(key).or_insert(entry);
            }
            Ok(())
        }
        Value::List(nodes) => nodes.into_iter().try_for_each(|node| match node.value {
            Value::Map(_) => merge_below(map, node),
            _ => Err(node.unlike("<<", "a map")),
        }),
        Value::Null => Ok(()),
        Value::Text { .. } => Err(below.unlike("<<", "a map or a list of maps")),
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Text { .. } => 1,
        Value::List(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.values().map(|entry| size(&entry.node)).sum::<usize>(),
    }
}

fn core_name(tag: &Tag) -> Option<&str> {
    tag.core_suffix()
}

fn mark(tag: &Tag, at: &Place) -> Result<Mark, Trouble> {
    if tag.is_yaml_core_schema() {
        return Ok(Mark::Merge);
    }
    match tag.original().as_str() {
        "!" => Ok(Mark::Merge),
        "!reset" => Ok(Mark::Reset),
        "!override" => Ok(Mark::Override),
        other => Err(Trouble::new(
            at,
            format!("unknown tag {other}; there are !reset and !override"),
        )),
    }
}
