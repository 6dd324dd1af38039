//! Where something stands in a file, and what is wrong there. Pure.

use std::fmt;
use std::sync::Arc;

/// Where something stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl Place {
    /// The file as a whole.
    pub fn whole(file: &str) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.file);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What is wrong in a file: `compose.yml:3:5: services.web.ports: …`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{at}: {text}")]
pub struct Trouble {
    /// Where.
    pub at: Place,
    /// Thing, reason, way out.
    pub text: String,
}

impl Trouble {
    /// Something is wrong there.
    pub fn new(at: &Place, text: impl Into<String>) -> Self {
        Self {
            at: at.clone(),
            text: text.into(),
        }
    }
}

/// `; did you mean "NAME"?` if one of `known` is near `name`, else nothing.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min();
    let bound = name.chars().count() / 3 + 1;
    match near {
        Some((distance, known)) if distance <= bound => format!("; did you mean \"{known}\"?"),
        _ => String::new(),
    }
}
