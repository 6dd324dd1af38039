//! Makes a tree of a template's tokens.

use serde_json::Value;

use super::Fault;
use super::functions;
use super::lex::{Kind, Token};

/// Blocks and parentheses may be nested so deep: far more than anybody writes, and the stack holds it.
const DEEPEST: usize = 64;

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// As it stands.
    Text(String),
    /// Prints what the pipeline gives, unless that goes into variables.
    Output(Pipeline),
    /// The first branch whose pipeline is true, or the last part.
    If {
        branches: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    /// Once for each element; the last part where there is none.
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// With another dot where that is true.
    With {
        dot: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// Leaves the range.
    Break,
    /// Goes on with the next element.
    Continue,
}

/// Commands, each of which gets what the one before gave as its last argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    /// Variables it goes into.
    pub(super) into: Option<Target>,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// Variables that a pipeline sets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) names: Vec<String>,
    /// New ones, or those that are there.
    pub(super) new: bool,
}

/// A value or function, and the fields that are taken of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

/// What an operand begins with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Group(Box<Pipeline>),
}

/// The tree of `tokens`.
pub(super) fn nodes(tokens: Vec<Token>) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        ranges: 0,
    };
    let (nodes, end) = parser.list()?;
    match end {
        Ended::Text => Ok(nodes),
        other => Err(parser.fault(format!("{{{{{}}}}} has nothing to end", other.word()))),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    ranges: usize,
}

/// What ended a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Text,
    Block,
    Else,
}

impl Ended {
    fn word(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Block => "end",
            Self::Else => "else",
        }
    }
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens
            .get(self.at)
            .map_or(&Kind::End, |token| &token.kind)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |token| token.at)
    }

    fn next(&mut self) -> Kind {
        let kind = self.peek().clone();
        if kind != Kind::End {
            self.at += 1;
        }
        kind
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.place(), message)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= DEEPEST {
            return Err(self.fault(format!("more than {DEEPEST} blocks or parentheses deep")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Nodes up to `end` or `else`, whose word has been read, or the end of the text.
    fn list(&mut self) -> Result<(Vec<Node>, Ended), Fault> {
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                Kind::End => return Ok((nodes, Ended::Text)),
                Kind::Text(text) => nodes.push(Node::Text(text)),
                Kind::Open => match self.peek().clone() {
                    Kind::Word(word) if word == "end" => {
                        self.at += 1;
                        return Ok((nodes, Ended::Block));
                    }
                    Kind::Word(word) if word == "else" => {
                        self.at += 1;
                        return Ok((nodes, Ended::Else));
                    }
                    _ => nodes.push(self.deeper(Self::action)?),
                },
                _ => return Err(self.fault("not expected here")),
            }
        }
    }

    fn action(&mut self) -> Result<Node, Fault> {
        let Kind::Word(word) = self.peek().clone() else {
            return self.output();
        };
        match word.as_str() {
            "if" => {
                self.at += 1;
                self.branches()
            }
            "range" => {
                self.at += 1;
                let over = self.pipeline()?;
                self.close()?;
                self.ranges += 1;
                let (body, otherwise) = self.block("range")?;
                self.ranges -= 1;
                Ok(Node::Range {
                    over,
                    body,
                    otherwise,
                })
            }
            "with" => {
                self.at += 1;
                let dot = self.pipeline()?;
                self.close()?;
                let (body, otherwise) = self.block("with")?;
                Ok(Node::With {
                    dot,
                    body,
                    otherwise,
                })
            }
            "break" | "continue" => self.jump(&word),
            "define" | "template" | "block" => Err(self.fault(format!(
                "{word} is not supported: an option holds one template"
            ))),
            _ => self.output(),
        }
    }

    fn jump(&mut self, word: &str) -> Result<Node, Fault> {
        if self.ranges == 0 {
            return Err(self.fault(format!("{{{{{word}}}}} stands outside {{{{range}}}}")));
        }
        self.at += 1;
        self.close()?;
        Ok(if word == "break" {
            Node::Break
        } else {
            Node::Continue
        })
    }

    fn output(&mut self) -> Result<Node, Fault> {
        let pipeline = self.pipeline()?;
        self.close()?;
        Ok(Node::Output(pipeline))
    }

    fn branches(&mut self) -> Result<Node, Fault> {
        let mut branches = Vec::new();
        loop {
            let condition = self.pipeline()?;
            self.close()?;
            let (body, end) = self.list()?;
            branches.push((condition, body));
            match end {
                Ended::Text => return Err(self.fault("{{if}} does not end: {{end}} is missing")),
                Ended::Block => {
                    self.close()?;
                    let otherwise = Vec::new();
                    return Ok(Node::If {
                        branches,
                        otherwise,
                    });
                }
                Ended::Else if *self.peek() == Kind::Word("if".into()) => self.at += 1,
                Ended::Else => {
                    self.close()?;
                    let otherwise = self.last("if")?;
                    return Ok(Node::If {
                        branches,
                        otherwise,
                    });
                }
            }
        }
    }

    /// A body and what stands behind `else`.
    fn block(&mut self, word: &str) -> Result<(Vec<Node>, Vec<Node>), Fault> {
        let (body, end) = self.list()?;
        match end {
            Ended::Text => Err(self.fault(format!(
                "{{{{{word}}}}} does not end: {{{{end}}}} is missing"
            ))),
            Ended::Block => {
                self.close()?;
                Ok((body, Vec::new()))
            }
            Ended::Else => {
                self.close()?;
                Ok((body, self.last(word)?))
            }
        }
    }

    fn last(&mut self, word: &str) -> Result<Vec<Node>, Fault> {
        let (nodes, end) = self.list()?;
        if end != Ended::Block {
            return Err(self.fault(format!(
                "{{{{else}}}} of {{{{{word}}}}} does not end: {{{{end}}}} is missing"
            )));
        }
        self.close()?;
        Ok(nodes)
    }

    fn close(&mut self) -> Result<(), Fault> {
        if *self.peek() == Kind::Close {
            self.at += 1;
            return Ok(());
        }
        Err(self.fault("expected }} here"))
    }

    fn pipeline(&mut self) -> Result<Pipeline, Fault> {
        let at = self.place();
        let into = self.target()?;
        let mut commands = vec![self.command()?];
        while *self.peek() == Kind::Pipe {
            self.at += 1;
            commands.push(self.command()?);
        }
        Ok(Pipeline { at, into, commands })
    }

    /// `$x :=`, `$i, $x :=` or `$x =`, if one stands here.
    fn target(&mut self) -> Result<Option<Target>, Fault> {
        let begin = self.at;
        let mut names = Vec::new();
        while let Kind::Variable(name) = self.peek().clone() {
            self.at += 1;
            names.push(name);
            if *self.peek() != Kind::Comma {
                break;
            }
            self.at += 1;
        }
        let new = match self.peek() {
            Kind::Declare => true,
            Kind::Assign => false,
            _ if names.len() > 1 => return Err(self.fault("expected := here")),
            _ => {
                self.at = begin;
                return Ok(None);
            }
        };
        if names.is_empty() || names.len() > 2 {
            return Err(self.fault("expected one variable, or two in {{range}}, before this"));
        }
        self.at += 1;
        Ok(Some(Target { names, new }))
    }

    fn command(&mut self) -> Result<Vec<Operand>, Fault> {
        let mut operands = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
        }
        if operands.is_empty() {
            return Err(self.fault("expected a value or a function here"));
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let at = self.place();
        let mut fields = Vec::new();
        let base = match self.peek().clone() {
            Kind::Dot => Base::Dot,
            Kind::Field { name, .. } => {
                fields.push(name);
                Base::Dot
            }
            Kind::Variable(name) => Base::Variable(name),
            Kind::Literal(value) => Base::Literal(value),
            Kind::Word(word) => match word.as_str() {
                "true" => Base::Literal(true.into()),
                "false" => Base::Literal(false.into()),
                "nil" => Base::Literal(Value::Null),
                name if functions::known(name) => Base::Function(word),
                name => return Err(self.fault(functions::unknown(name))),
            },
            Kind::Left => {
                self.at += 1;
                let inner = self.deeper(Self::pipeline)?;
                if *self.peek() != Kind::Right {
                    return Err(self.fault("expected ) here"));
                }
                Base::Group(Box::new(inner))
            }
            _ => return Ok(None),
        };
        self.at += 1;
        while let Kind::Field { name, glued: true } = self.peek().clone() {
            self.at += 1;
            fields.push(name);
        }
        Ok(Some(Operand { at, base, fields }))
    }
}
