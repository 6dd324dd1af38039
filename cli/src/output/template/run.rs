//! Runs a template's tree on a value.

use serde_json::Value;

use super::Fault;
use super::functions::{self, shown, truth};
use super::parse::{Base, Node, Operand, Pipeline, Target};

/// Objects whose keys users choose: one that is not there is no mistake.
const OPEN: [&str; 6] = [
    "Labels",
    "EngineLabels",
    "Attributes",
    "Options",
    "DriverOpts",
    "labels",
];

/// What `nodes` make of `dot`.
pub(super) fn run(nodes: &[Node], dot: &Value) -> Result<String, Fault> {
    let mut runner = Runner {
        out: String::new(),
        variables: vec![(String::new(), dot.clone())],
    };
    runner.all(nodes, dot)?;
    Ok(runner.out)
}

struct Runner {
    out: String,
    /// Name and value; the innermost last.
    variables: Vec<(String, Value)>,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Runner {
    fn all(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Fault> {
        let known = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(known);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Fault> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Output(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match &pipeline.into {
                    Some(target) => self.set(target, pipeline.at, None, value)?,
                    None => self.out.push_str(&shown(&value)),
                }
            }
            Node::If {
                branches,
                otherwise,
            } => return self.branch(branches, otherwise, dot),
            Node::With {
                dot: inner,
                body,
                otherwise,
            } => {
                let value = self.pipeline(inner, dot)?;
                if !truth(&value) {
                    return self.all(otherwise, dot);
                }
                let known = self.variables.len();
                if let Some(target) = &inner.into {
                    self.set(target, inner.at, None, value.clone())?;
                }
                let flow = self.all(body, &value);
                self.variables.truncate(known);
                return flow;
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn branch(
        &mut self,
        branches: &[(Pipeline, Vec<Node>)],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, Fault> {
        let known = self.variables.len();
        let mut chosen = otherwise;
        for (condition, body) in branches {
            let value = self.pipeline(condition, dot)?;
            let holds = truth(&value);
            if let Some(target) = &condition.into {
                self.set(target, condition.at, None, value)?;
            }
            if holds {
                chosen = body;
                break;
            }
        }
        let flow = self.all(chosen, dot);
        self.variables.truncate(known);
        flow
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, Fault> {
        let elements: Vec<(Value, Value)> = match self.pipeline(over, dot)? {
            Value::Null => Vec::new(),
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (index.into(), item))
                .collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
            other => {
                let what = functions::kind(&other);
                return Err(Fault::new(
                    over.at,
                    format!("range over {what}: expected a list or a map"),
                ));
            }
        };
        if elements.is_empty() {
            return self.all(otherwise, dot);
        }
        for (key, element) in elements {
            let known = self.variables.len();
            if let Some(target) = &over.into {
                self.set(target, over.at, Some(key), element.clone())?;
            }
            let flow = self.all(body, &element)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Sets the variables of a target: two get key and value.
    fn set(
        &mut self,
        target: &Target,
        at: usize,
        key: Option<Value>,
        value: Value,
    ) -> Result<(), Fault> {
        let pairs: Vec<(&String, Value)> = match (target.names.as_slice(), key) {
            ([first, second], Some(key)) => vec![(first, key), (second, value)],
            ([only], _) => vec![(only, value)],
            _ => return Err(Fault::new(at, "two variables are set by {{range}} alone")),
        };
        for (name, value) in pairs {
            if target.new {
                self.variables.push((name.clone(), value));
                continue;
            }
            let found = self.variables.iter_mut().rev().find(|(has, _)| has == name);
            match found {
                Some((_, place)) => *place = value,
                None => return Err(Fault::new(at, format!("${name} has not been set; use :="))),
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or(Value::Null))
    }

    fn command(
        &mut self,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Fault> {
        let Some((first, rest)) = command.split_first() else {
            return Ok(Value::Null);
        };
        if let Base::Function(name) = &first.base {
            let value = if matches!(name.as_str(), "and" | "or") {
                self.first_that_decides(name, first.at, rest, piped, dot)?
            } else {
                let mut arguments = self.operands(rest, dot)?;
                arguments.extend(piped);
                functions::call(name, arguments).map_err(|message| Fault::new(first.at, message))?
            };
            return follow(value, &first.fields, first.at, None);
        }
        if rest.is_empty() && piped.is_none() {
            return self.operand(first, dot);
        }
        let mut arguments = self.operands(rest, dot)?;
        arguments.extend(piped);
        self.label(first, &arguments, dot)
    }

    fn operands(&mut self, operands: &[Operand], dot: &Value) -> Result<Vec<Value>, Fault> {
        operands
            .iter()
            .map(|each| self.operand(each, dot))
            .collect()
    }

    /// `.Label "name"`: the one field of Docker's that takes an argument.
    fn label(&mut self, first: &Operand, arguments: &[Value], dot: &Value) -> Result<Value, Fault> {
        let refused = || {
            Fault::new(
                first.at,
                "a value takes no arguments; only functions and .Label do",
            )
        };
        let [Value::String(name)] = arguments else {
            return Err(refused());
        };
        let Some((last, before)) = first.fields.split_last() else {
            return Err(refused());
        };
        if last != "Label" {
            return Err(refused());
        }
        let mut fields = before.to_vec();
        fields.extend(["Labels".to_owned(), name.clone()]);
        let operand = Operand {
            fields,
            ..first.clone()
        };
        let value = self.operand(&operand, dot)?;
        Ok(if value.is_null() { "".into() } else { value })
    }

    /// `and` gives the first that is false, `or` the first that is true, else the last.
    fn first_that_decides(
        &mut self,
        name: &str,
        at: usize,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Fault> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            let decides = truth(&value) == (name == "or");
            last = Some(value);
            if decides {
                return Ok(last.unwrap_or(Value::Null));
            }
        }
        piped
            .or(last)
            .ok_or_else(|| Fault::new(at, format!("{name} needs at least one argument")))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Fault> {
        let at = operand.at;
        let base = match &operand.base {
            Base::Dot => return look(dot, &operand.fields, at, None),
            Base::Literal(value) => value.clone(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(has, _)| has == name);
                match found {
                    Some((_, value)) => return look(value, &operand.fields, at, Some(name)),
                    None => return Err(Fault::new(at, format!("${name} has not been set"))),
                }
            }
            Base::Function(name) => {
                functions::call(name, Vec::new()).map_err(|message| Fault::new(at, message))?
            }
            Base::Group(inner) => {
                let value = self.pipeline(inner, dot)?;
                if let Some(target) = &inner.into {
                    self.set(target, inner.at, None, value.clone())?;
                }
                value
            }
        };
        follow(base, &operand.fields, at, None)
    }
}

fn follow(value: Value, fields: &[String], at: usize, of: Option<&str>) -> Result<Value, Fault> {
    if fields.is_empty() {
        return Ok(value);
    }
    look(&value, fields, at, of)
}

/// The field of a field of … `value`.
fn look(value: &Value, fields: &[String], at: usize, of: Option<&str>) -> Result<Value, Fault> {
    let mut value = value;
    let mut before = of;
    for field in fields {
        let Value::Object(there) = value else {
            let what = functions::kind(value);
            return Err(Fault::new(at, format!("cannot take .{field} of {what}")));
        };
        value = match there.get(field) {
            Some(value) => value,
            None if before.is_some_and(|before| OPEN.contains(&before)) => &Value::Null,
            None => {
                let names: Vec<String> = there.keys().map(|name| format!(".{name}")).collect();
                let there = if names.is_empty() {
                    "it has no fields".to_owned()
                } else {
                    format!("there are {}", names.join(", "))
                };
                return Err(Fault::new(
                    at,
                    format!("there is no field .{field}; {there}"),
                ));
            }
        };
        before = Some(field);
    }
    Ok(value.clone())
}
