//! Which images a token lets in: `registry.example.com/team/*`, `nginx:1.*`. Pure.

use std::fmt;
use std::str::FromStr;

use crate::image::familiar;

/// Longest pattern, in bytes.
const LONGEST: usize = 255;

/// A repository, and perhaps a tag; `*` in either stands for any characters but `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ImagePattern {
    repository: String,
    /// `None`: any tag, and any digest.
    tag: Option<String>,
}

/// Why a text is no pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{text}\": {reason}; expected REPOSITORY[:TAG], in which * stands for any characters but \"/\", such as \
     registry.example.com/team/web"
)]
pub struct PatternError {
    text: String,
    reason: &'static str,
}

impl ImagePattern {
    /// Whether an image of this name may be used. The name is one as a user writes it, without digest.
    pub fn fits(&self, name: &str) -> bool {
        let name = familiar(name);
        let Some((repository, tag)) = split(&name) else {
            return false;
        };
        let tagged = self
            .tag
            .as_ref()
            .is_none_or(|pattern| glob(pattern, tag.unwrap_or_default()));
        tagged && glob(&self.repository, repository)
    }

    /// Whether it says which tags: a digest alone, which has none, is then no way round it.
    pub fn names_tags(&self) -> bool {
        self.tag.is_some()
    }
}

/// Repository and tag of a familiar name; `None` for what is no name.
fn split(name: &str) -> Option<(&str, Option<&str>)> {
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name.get(slash..)?.find(':') {
        Some(at) => (name.get(..slash + at)?, name.get(slash + at + 1..)),
        None => (name, None),
    };
    (!repository.is_empty()).then_some((repository, tag))
}

/// Whether `text` fits `pattern`. Goes back to the last `*` only: no text makes it slow.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, read));
                at += 1;
            }
            Some(same) if same == byte => {
                at += 1;
                read += 1;
            }
            _ => match star {
                // The star takes one more, unless that is where a part ends.
                Some((after, from)) if text.get(from).is_some_and(|byte| *byte != b'/') => {
                    star = Some((after, from + 1));
                    at = after;
                    read = from + 1;
                }
                _ => return false,
            },
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

impl FromStr for ImagePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |reason| PatternError {
            text: text.to_owned(),
            reason,
        };
        if text.is_empty() || text.len() > LONGEST {
            return Err(wrong("it must have 1 to 255 characters"));
        }
        if text.contains('@') {
            return Err(wrong("a digest names one image, which needs no token"));
        }
        let known = |c: char| {
            c.is_ascii_lowercase()
                || c.is_ascii_digit()
                || matches!(c, '.' | '_' | '-' | '/' | ':' | '*')
        };
        let (repository, tag) = match split(text) {
            Some(parts) => parts,
            None => return Err(wrong("it names no repository")),
        };
        if !repository.chars().all(known) {
            return Err(wrong(
                "a repository has lower-case letters, digits and . _ - / only",
            ));
        }
        if repository.split('/').any(str::is_empty) {
            return Err(wrong("a part between two \"/\" is empty"));
        }
        if tag.is_some_and(str::is_empty) {
            return Err(wrong("the tag is empty"));
        }
        // What is not written of Docker's own registry is not written here either.
        let with_tag = familiar(&format!("{repository}:x"));
        let repository = split(&with_tag).map_or(repository, |(repository, _)| repository);
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
        })
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match &self.tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        pattern
            .parse::<ImagePattern>()
            .expect("a pattern")
            .fits(name)
    }

    #[test]
    fn a_repository_lets_its_tags_in_and_no_other_repository() {
        for name in ["host:5000/app", "host:5000/app:1", "host:5000/app:v1.2-rc"] {
            assert!(fits("host:5000/app", name), "{name}");
        }
        for name in [
            "host:5000/app2:1",
            "host:5000/app/x:1",
            "host:5000/ap",
            "host/app:1",
            "app:1",
            "evil/host:5000/app",
            "xhost:5000/app:1",
            "",
            ":1",
        ] {
            assert!(!fits("host:5000/app", name), "{name}");
        }
    }

    #[test]
    fn a_star_ends_at_a_slash() {
        assert!(fits("r.io/team/*", "r.io/team/web:1"));
        assert!(fits("r.io/*/web", "r.io/team/web:1"));
        assert!(fits("r.io/team/w*b", "r.io/team/wxxb:1"));
        assert!(!fits("r.io/*", "r.io/team/web:1"));
        assert!(!fits("r.io/team/*", "r.io/team/web/deep:1"));
        assert!(!fits("r.io/t*/web", "r.io/t/x/web:1"));
        assert!(fits("r.io/a*b*c", "r.io/aXbYbZc"));
        assert!(!fits("r.io/a*b*c", "r.io/aXbYbZ"));
    }

    #[test]
    fn a_tag_counts_where_it_is_named() {
        assert!(fits("app:1.*", "app:1.2"));
        assert!(!fits("app:1.*", "app:2.1"));
        assert!(!fits("app:1.*", "app"));
        assert!(fits("app:latest", "app"));
    }

    #[test]
    fn the_default_registry_is_one_however_it_is_written() {
        assert!(fits("docker.io/library/nginx", "nginx:1"));
        assert!(fits("nginx", "docker.io/library/nginx:1"));
        assert!(fits("docker.io/me/app:1", "me/app:1"));
        assert!(!fits("me/app", "r.io/me/app"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_says_what_is() {
        for text in ["", "a@sha256:00", ":1", "Host/App", "a//b", "app:", "/app"] {
            let error = text.parse::<ImagePattern>().expect_err(text).to_string();
            assert!(error.contains("REPOSITORY[:TAG]"), "{error}");
        }
        let read: ImagePattern = "docker.io/library/nginx:1.*".parse().expect("a pattern");
        assert_eq!(read.to_string(), "nginx:1.*");
        assert_eq!(read.to_string().parse(), Ok(read));
    }
}
