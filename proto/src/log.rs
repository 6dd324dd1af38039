//! What a log driver's options mean. Pure.

use crate::spec::LogDriver;

/// How a container's output is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogKeeping {
    /// In files on its node.
    Files {
        /// Bytes after which a new file is begun; the largest number for no bound.
        max_bytes: u64,
        /// Files at most; at least one.
        max_files: u32,
    },
    /// Not at all.
    None,
}

impl LogKeeping {
    /// Without a driver: as json-file, but bounded, since an unbounded log fills a disk one day.
    pub const DEFAULT: Self = Self::Files {
        max_bytes: 10 << 20,
        max_files: 3,
    };

    /// What a driver with its options means, by Docker's names and defaults: json-file is unbounded, local
    /// keeps five files of 20 MiB. Both write the same files, Docker's lines of JSON, uncompressed.
    ///
    /// # Errors
    /// Names the driver or option that is not known, or has no such value.
    pub fn of(driver: Option<&LogDriver>) -> Result<Self, String> {
        let Some(driver) = driver else {
            return Ok(Self::DEFAULT);
        };
        let (max_bytes, max_files) = match driver.name.as_str() {
            "" | "json-file" => (u64::MAX, 1),
            "local" => (20 << 20, 5),
            "none" => {
                return match driver.options.keys().next() {
                    None => Ok(Self::None),
                    Some(name) => Err(format!("log driver none takes no option, so not {name}")),
                };
            }
            other => {
                return Err(format!(
                    "log driver \"{other}\" is not offered; use json-file, local or none"
                ));
            }
        };
        let (mut max_bytes, mut max_files) = (max_bytes, max_files);
        for (name, value) in &driver.options {
            match name.as_str() {
                "max-size" if value == "-1" => max_bytes = u64::MAX,
                "max-size" => max_bytes = size(value).ok_or_else(|| wrong(name, value, "10m"))?,
                "max-file" => {
                    let number = value
                        .parse()
                        .ok()
                        .filter(|number| (1..=10_000).contains(number));
                    max_files = number.ok_or_else(|| wrong(name, value, "3"))?;
                }
                _ => {
                    return Err(format!(
                        "log driver {} has no option {name} here; it takes max-size and max-file",
                        driver.name
                    ));
                }
            }
        }
        if max_files > 1 && max_bytes == u64::MAX {
            return Err("the log option max-file needs max-size, such as max-size=10m".into());
        }
        Ok(Self::Files {
            max_bytes,
            max_files,
        })
    }
}

fn wrong(name: &str, value: &str, example: &str) -> String {
    format!("\"{value}\" is no value for the log option {name}; write it as {name}={example}")
}

/// A size such as `10m`, in powers of 1024; at least a kibibyte, which holds a line.
fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match lower.get(digits.len()..)? {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (bytes >= 1024).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, options: &[(&str, &str)], expected: Result<(u64, u32), &str>) {
        let driver = LogDriver {
            name: name.into(),
            options: options
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        };
        match (LogKeeping::of(Some(&driver)), expected) {
            (Ok(found), Ok((max_bytes, max_files))) => {
                assert_eq!(
                    found,
                    LogKeeping::Files {
                        max_bytes,
                        max_files
                    }
                );
            }
            (Err(found), Err(words)) => assert!(found.contains(words), "{found}"),
            other => panic!("{name} {options:?}: {other:?}"),
        }
    }

    #[test]
    fn drivers_have_dockers_defaults_and_options() {
        check("json-file", &[], Ok((u64::MAX, 1)));
        check("json-file", &[("max-size", "10m")], Ok((10 << 20, 1)));
        check(
            "json-file",
            &[("max-size", "64k"), ("max-file", "3")],
            Ok((64 << 10, 3)),
        );
        check("local", &[], Ok((20 << 20, 5)));
        check("local", &[("max-file", "2")], Ok((20 << 20, 2)));
    }

    #[test]
    fn what_is_not_offered_is_refused_by_name() {
        check("journald", &[], Err("journald"));
        check("local", &[("compress", "true")], Err("compress"));
        check("local", &[("max-size", "tiny")], Err("max-size=10m"));
        check("local", &[("max-size", "12")], Err("max-size"));
        check("local", &[("max-file", "0")], Err("max-file=3"));
        check("json-file", &[("max-file", "3")], Err("needs max-size"));
        check("none", &[("max-file", "3")], Err("takes no option"));
    }
}
