//! In which form a list or an object is printed: what `--format` takes.

use std::str::FromStr;

use super::template::{Template, TemplateError};

/// In which form a list or an object is printed.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// An array of objects with stable lower-case keys.
    Json,
    /// One line for each object, made by a template in the language of Go's.
    Template(Template),
    /// A table with headings, made by a template whose cells are cut by tabs.
    TableOf(Template),
}

impl FromStr for Format {
    type Err = TemplateError;

    /// Reads `table`, `json`, `table TEMPLATE` or a template.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text.trim() {
            "table" => return Ok(Self::Table),
            "json" => return Ok(Self::Json),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("table ") {
            return Template::read(rest.trim_start()).map(Self::TableOf);
        }
        if !text.contains("{{") {
            return Err(TemplateError {
                line: 1,
                column: 1,
                message: format!(
                    "\"{text}\" names no field: expected table, json, or a template such as {{{{.ID}}}} or \
                     'table {{{{.ID}}}}\\t{{{{.Name}}}}'"
                ),
            });
        }
        Template::read(text).map(Self::Template)
    }
}
