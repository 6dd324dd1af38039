//! Templates of `--format`, in the language of Go's text/template with the functions that Docker adds.
//!
//! A template is read once and run for each object. What is not understood is told with its place. Named
//! templates (`define`, `template`, `block`) are left out: an option holds one template.

mod functions;
mod lex;
mod number;
mod parse;
mod printf;
mod run;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

/// A template that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
    nodes: Vec<parse::Node>,
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "template:{}:{}: {}",
            self.line, self.column, self.message
        )
    }
}

impl std::error::Error for TemplateError {}

/// What is wrong at a byte of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    at: usize,
    message: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    fn placed(self, text: &str) -> TemplateError {
        let before = text.get(..self.at).unwrap_or(text);
        let line_begin = before.rfind('\n').map_or(0, |end| end + 1);
        TemplateError {
            line: before.matches('\n').count() + 1,
            column: before[line_begin..].chars().count() + 1,
            message: self.message,
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Says what is not understood, and where.
    pub fn read(text: &str) -> Result<Self, TemplateError> {
        let tokens = lex::tokens(text).map_err(|fault| fault.placed(text))?;
        let nodes = parse::nodes(tokens).map_err(|fault| fault.placed(text))?;
        Ok(Self {
            text: text.to_owned(),
            nodes,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the template makes of `dot`.
    ///
    /// # Errors
    /// Says which field or function does not fit, and where.
    pub fn run(&self, dot: &Value) -> Result<String, TemplateError> {
        run::run(&self.nodes, dot).map_err(|fault| fault.placed(&self.text))
    }
}
