//! PAX extended headers: pure.

use std::io;

/// What an extended header says besides the plain one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<SparseMap>,
}

/// A sparse file's map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SparseMap {
    /// Offsets and lengths by turns.
    Listed { length: u64, numbers: Vec<u64> },
    /// It stands in front of the body.
    InBody { length: u64 },
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the records of one extended header.
pub(super) fn read(mut bytes: &[u8]) -> io::Result<Pax> {
    let mut pax = Pax::default();
    let mut sparse = Vec::new();
    while !bytes.is_empty() {
        let (key, value, rest) =
            record(bytes).ok_or_else(|| broken("a PAX record is malformed"))?;
        bytes = rest;
        match key {
            b"path" => pax.path = Some(value.to_vec()),
            b"linkpath" => pax.link = Some(value.to_vec()),
            b"size" => pax.size = Some(number(value)?),
            b"uid" => pax.uid = Some(number(value)?),
            b"gid" => pax.gid = Some(number(value)?),
            b"mtime" => pax.mtime = Some(time(value)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    pax.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    sparse.push((name, value));
                }
            }
        }
    }
    add_sparse(&mut pax, &sparse)?;
    Ok(pax)
}

/// One record: its length in decimal, a space, key=value and a newline.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..space)?)
        .ok()?
        .parse()
        .ok()?;
    let body = bytes
        .get(space.checked_add(1)?..length)?
        .strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let value = body.get(equals.checked_add(1)?..)?;
    Some((body.get(..equals)?, value, bytes.get(length..)?))
}

fn number(value: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| broken("a PAX record that should be a number is none"))
}

/// Seconds with an optional fraction; may be negative.
fn time(value: &[u8]) -> io::Result<(i64, u32)> {
    let bad = || broken("a PAX time is malformed");
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| bad())?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: u32 = digits.parse().map_err(|_| bad())?;
    if whole.starts_with('-') && nanos > 0 {
        return Ok((seconds.saturating_sub(1), 1_000_000_000 - nanos));
    }
    Ok((seconds, nanos))
}

fn add_sparse(pax: &mut Pax, records: &[(&[u8], &[u8])]) -> io::Result<()> {
    let find = |name: &[u8]| {
        records
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    };
    let Some(length) = find(b"realsize").or_else(|| find(b"size")) else {
        return Ok(());
    };
    let length = number(length)?;
    if let Some(name) = find(b"name") {
        pax.path = Some(name.to_vec());
    }
    pax.sparse = Some(match (find(b"map"), find(b"major")) {
        (Some(map), _) => {
            let numbers = map
                .split(|byte| *byte == b',')
                .filter(|part| !part.is_empty())
                .map(number)
                .collect::<io::Result<_>>()?;
            SparseMap::Listed { length, numbers }
        }
        (None, Some(b"1")) => SparseMap::InBody { length },
        _ => return Err(broken("it has a sparse file in a format of before 2006")),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(key: &str, value: &[u8]) -> Vec<u8> {
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = body.len();
        while length != body.len() + length.to_string().len() {
            length = body.len() + length.to_string().len();
        }
        [length.to_string().as_bytes(), &body].concat()
    }

    #[test]
    fn a_value_may_hold_any_byte() {
        let bytes = [
            encoded("SCHILY.xattr.security.capability", b"\x01\n\x00=\n"),
            encoded("path", "naïve\n".as_bytes()),
        ]
        .concat();
        let pax = read(&bytes).unwrap();
        assert_eq!(pax.path.as_deref(), Some("naïve\n".as_bytes()));
        assert_eq!(
            pax.xattrs,
            [(b"security.capability".to_vec(), b"\x01\n\x00=\n".to_vec())]
        );
    }

    #[test]
    fn times_before_1970_and_fractions_are_read() {
        for (text, expected) in [
            ("12", (12, 0)),
            ("12.5", (12, 500_000_000)),
            ("1.1234567891", (1, 123_456_789)),
            ("-1.25", (-2, 750_000_000)),
        ] {
            assert_eq!(time(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"9 path=a"[..],
            b"x path=a\n",
            b"99 path=a\n",
            b"6 path\n",
            b"3 \n",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
