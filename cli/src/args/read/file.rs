//! Reads uses of secrets and configs as Docker's users write them.

/// What `--secret` and `--config` understand, for whoever wrote something else.
const KEYS: &str = "source, target, uid, gid, mode";
/// Permission bits by default.
const MODE: u32 = 0o444;

/// A secret or config that a service is to be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Its name or id.
    pub source: String,
    /// Where it shows; relative to where files of its kind show.
    pub target: Option<String>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Reads `NAME`, or `source=…,target=…,uid=…,gid=…,mode=…`; the mode is octal.
///
/// # Errors
/// Names the key and what is accepted.
pub fn wish(text: &str) -> Result<Wish, String> {
    let mut wish = Wish {
        source: String::new(),
        target: None,
        uid: 0,
        gid: 0,
        mode: MODE,
    };
    if !text.contains('=') && !text.contains(',') {
        text.clone_into(&mut wish.source);
    } else {
        for field in super::mount::fields(text)? {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            if value.is_empty() {
                return Err(format!("{key} needs a value: {key}=…"));
            }
            wish.take(&key.to_ascii_lowercase(), value)?;
        }
    }
    if wish.source.is_empty() {
        return Err(format!(
            "\"{text}\" names nothing; give NAME or source=NAME"
        ));
    }
    Ok(wish)
}

impl Wish {
    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || {
            let wrong = |_| format!("{key} \"{value}\" is not a number such as 1000");
            value.parse::<u32>().map_err(wrong)
        };
        match key {
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => self.target = Some(value.to_owned()),
            "uid" => self.uid = number()?,
            "gid" => self.gid = number()?,
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok();
                let mode = mode.filter(|mode| *mode <= 0o7777);
                self.mode = mode.ok_or_else(|| {
                    format!("mode \"{value}\" is not octal permission bits such as 0444")
                })?;
            }
            _ => return Err(format!("\"{key}\" is not known; known are {KEYS}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms_are_dockers() {
        let short = wish("key").unwrap();
        assert_eq!((short.source.as_str(), short.target), ("key", None));
        assert_eq!((short.uid, short.gid, short.mode), (0, 0, 0o444));
        let long = wish("src=key,target=/etc/key,uid=103,gid=104,mode=0440").unwrap();
        assert_eq!(long.target.as_deref(), Some("/etc/key"));
        assert_eq!((long.uid, long.gid, long.mode), (103, 104, 0o440));
        assert_eq!(wish("source=key,mode=640").unwrap().mode, 0o640);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, part: &str| {
            let error = wish(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "names nothing");
        check("target=/x", "names nothing");
        check("source=a,mode=999", "mode \"999\"");
        check("source=a,mode=17777", "octal");
        check("source=a,uid=me", "uid \"me\"");
        check("source=a,owner=me", "known are source, target");
        check("source=a,target=", "target needs a value");
    }
}
