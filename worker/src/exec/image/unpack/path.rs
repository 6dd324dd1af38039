//! Names in a tar stream: pure.

/// The longest path, as the kernel's.
const MAX_PATH: usize = 4096;
/// The longest name of one component.
const MAX_NAME: usize = 255;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// Why a name is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum PathError {
    #[error("it leads out of the layer with \"..\"")]
    Escapes,
    #[error("it is longer than {MAX_PATH} bytes, or a part of it longer than {MAX_NAME}")]
    Long,
    #[error("it has a zero byte in it")]
    Zero,
    #[error("it hides nothing that could be there")]
    BadWhiteout,
}

/// Where an entry goes, relative to the layer's root, without empty parts, "." or "..".
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The directory it is in; empty for the root.
    pub(super) parent: Vec<u8>,
    /// Its name there; empty for the root itself.
    pub(super) name: Vec<u8>,
}

impl Place {
    /// Reads a path of the stream. An absolute one is meant from the layer's root.
    pub(super) fn read(path: &[u8]) -> Result<Self, PathError> {
        if path.len() >= MAX_PATH {
            return Err(PathError::Long);
        }
        if path.contains(&0) {
            return Err(PathError::Zero);
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(PathError::Escapes),
                long if long.len() > MAX_NAME => return Err(PathError::Long),
                name => parts.push(name),
            }
        }
        let name = parts.pop().unwrap_or_default().to_vec();
        Ok(Self {
            parent: parts.join(&b'/'),
            name,
        })
    }

    /// The whole path.
    pub(super) fn path(&self) -> Vec<u8> {
        if self.parent.is_empty() {
            return self.name.clone();
        }
        [self.parent.as_slice(), self.name.as_slice()].join(&b'/')
    }

    /// Whether it is the root of the layer.
    pub(super) fn is_root(&self) -> bool {
        self.name.is_empty()
    }
}

/// What a name means in a layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// Something that is to be there.
    Entry,
    /// The name is gone, whatever lower layers have there.
    Whiteout(Vec<u8>),
    /// The directory hides all that lower layers have in it.
    Opaque,
    /// Left over by a storage driver of old; means nothing here.
    Nothing,
}

/// Reads a name's meaning.
pub(super) fn meaning(name: &[u8]) -> Result<Meaning, PathError> {
    if name == OPAQUE {
        return Ok(Meaning::Opaque);
    }
    if name.starts_with(AUFS) {
        return Ok(Meaning::Nothing);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Entry),
        Some(b"" | b"." | b"..") => Err(PathError::BadWhiteout),
        Some(hidden) => Ok(Meaning::Whiteout(hidden.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_from_the_root() {
        for (path, parent, name) in [
            ("etc/passwd", "etc", "passwd"),
            ("./a//b/./c", "a/b", "c"),
            ("/abs", "", "abs"),
            ("./", "", ""),
            ("dir/", "", "dir"),
        ] {
            let place = Place::read(path.as_bytes()).unwrap();
            assert_eq!(
                (&*place.parent, &*place.name),
                (parent.as_bytes(), name.as_bytes())
            );
        }
    }

    #[test]
    fn a_path_that_escapes_or_is_too_long_is_refused() {
        assert_eq!(Place::read(b"a/../../b"), Err(PathError::Escapes));
        assert_eq!(Place::read(b".."), Err(PathError::Escapes));
        assert_eq!(Place::read(b"a\0b"), Err(PathError::Zero));
        assert_eq!(Place::read(&[b'a'; 256]), Err(PathError::Long));
        assert_eq!(Place::read(&b"a/".repeat(2048)), Err(PathError::Long));
    }

    #[test]
    fn whiteouts_are_told_from_entries() {
        assert_eq!(meaning(b"a.wh.b"), Ok(Meaning::Entry));
        assert_eq!(
            meaning(b".wh.gone"),
            Ok(Meaning::Whiteout(b"gone".to_vec()))
        );
        assert_eq!(meaning(b".wh..wh..opq"), Ok(Meaning::Opaque));
        assert_eq!(meaning(b".wh..wh.plnk"), Ok(Meaning::Nothing));
        for bad in [".wh.", ".wh..", ".wh..."] {
            assert_eq!(meaning(bad.as_bytes()), Err(PathError::BadWhiteout));
        }
    }
}
