//! Cuts a template into text and the tokens of its actions.

use serde_json::Value;

use super::{Fault, number};

/// A token and the byte where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Between actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A word: a function, a keyword, `true`, `nil`.
    Word(String),
    /// `.Name`; whether a space stands before it decides what it belongs to.
    Field { name: String, glued: bool },
    /// `.` alone.
    Dot,
    /// `$` or `$name`.
    Variable(String),
    /// A string, character or number.
    Literal(Value),
    /// `(`
    Left,
    /// `)`
    Right,
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// After the last.
    End,
}

/// The tokens of `text`, ended by [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let (mut at, mut trim) = (0, false);
    loop {
        let rest = &text[at..];
        let open = rest.find("{{");
        let piece = &rest[..open.unwrap_or(rest.len())];
        let Some(open) = open else {
            push_text(
                &mut tokens,
                at,
                if trim { piece.trim_start() } else { piece },
            );
            break;
        };
        let inside = at + open + 2;
        let trims_before = text[inside..].starts_with("- ") || text[inside..].starts_with("-\n");
        let piece = if trim { piece.trim_start() } else { piece };
        push_text(
            &mut tokens,
            at,
            if trims_before {
                piece.trim_end()
            } else {
                piece
            },
        );
        let begin = inside + usize::from(trims_before);
        let end = if let Some(end) = comment(text, begin)? {
            end
        } else {
            tokens.push(Token {
                at: at + open,
                kind: Kind::Open,
            });
            action(text, begin, &mut tokens)?
        };
        (at, trim) = end;
    }
    tokens.push(Token {
        at: text.len(),
        kind: Kind::End,
    });
    Ok(tokens)
}

fn push_text(tokens: &mut Vec<Token>, at: usize, text: &str) {
    if !text.is_empty() {
        tokens.push(Token {
            at,
            // A shell passes \t and \n on as two characters; Docker's users write them so.
            kind: Kind::Text(text.replace("\\t", "\t").replace("\\n", "\n")),
        });
    }
}

/// Where the text goes on behind a closing mark, and whether its space is trimmed.
type Behind = (usize, bool);

fn closing(text: &str, at: usize) -> Option<Behind> {
    let rest = &text[at..];
    if rest.starts_with("}}") {
        return Some((at + 2, false));
    }
    let trimmed = rest.trim_start();
    let spaced = trimmed.len() < rest.len();
    (spaced && trimmed.starts_with("-}}")).then(|| (text.len() - trimmed.len() + 3, true))
}

fn comment(text: &str, begin: usize) -> Result<Option<Behind>, Fault> {
    let rest = text[begin..].trim_start();
    if !rest.starts_with("/*") {
        return Ok(None);
    }
    let at = text.len() - rest.len();
    let end = rest
        .find("*/")
        .ok_or_else(|| Fault::new(at, "the comment does not end"))?;
    closing(text, at + end + 2)
        .map(Some)
        .ok_or_else(|| Fault::new(at, "a comment must be the only thing between {{ and }}"))
}

/// Adds the tokens of one action; gives where the text goes on.
fn action(text: &str, begin: usize, tokens: &mut Vec<Token>) -> Result<Behind, Fault> {
    let mut at = begin;
    loop {
        if let Some(behind) = closing(text, at) {
            let close = at + text[at..].find("}}").unwrap_or(0);
            tokens.push(Token {
                at: close,
                kind: Kind::Close,
            });
            return Ok(behind);
        }
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            return Err(Fault::new(begin, "the action does not end: }} is missing"));
        };
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let glued = at > begin && !text[..at].ends_with(char::is_whitespace);
        let (kind, length) = token(rest, first, glued, at)?;
        tokens.push(Token { at, kind });
        at += length;
    }
}

fn token(rest: &str, first: char, glued: bool, at: usize) -> Result<(Kind, usize), Fault> {
    let single = |kind| Ok((kind, 1));
    let second = rest.chars().nth(1);
    match first {
        '(' => single(Kind::Left),
        ')' => single(Kind::Right),
        '|' => single(Kind::Pipe),
        ',' => single(Kind::Comma),
        '=' => single(Kind::Assign),
        ':' if second == Some('=') => Ok((Kind::Declare, 2)),
        '"' => quoted(rest, at),
        '\'' => character(rest, at),
        '`' => match rest[1..].find('`') {
            Some(end) => Ok((Kind::Literal(rest[1..=end].into()), end + 2)),
            None => Err(Fault::new(at, "the string does not end: ` is missing")),
        },
        '.' if second.is_some_and(|next| next.is_ascii_digit()) => scan_number(rest, at),
        '.' => {
            let name = word(&rest[1..]);
            let kind = if name.is_empty() {
                Kind::Dot
            } else {
                Kind::Field {
                    name: name.to_owned(),
                    glued,
                }
            };
            Ok((kind, 1 + name.len()))
        }
        '$' => {
            let name = word(&rest[1..]);
            Ok((Kind::Variable(name.to_owned()), 1 + name.len()))
        }
        '+' | '-' | '0'..='9' => scan_number(rest, at),
        _ => match word(rest) {
            "" => Err(Fault::new(at, format!("\"{first}\" is not expected here"))),
            name => Ok((Kind::Word(name.to_owned()), name.len())),
        },
    }
}

fn word(rest: &str) -> &str {
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    &rest[..end.unwrap_or(rest.len())]
}

fn scan_number(rest: &str, at: usize) -> Result<(Kind, usize), Fault> {
    let end = rest
        .char_indices()
        .find(|(place, c)| {
            let signed = *c == '+' || *c == '-';
            let exponent = signed && rest[..*place].ends_with(['e', 'E']);
            !(c.is_ascii_alphanumeric() || *c == '.' || *c == '_' || exponent || *place == 0)
        })
        .map_or(rest.len(), |(place, _)| place);
    let text = &rest[..end];
    let value =
        number::read(text).ok_or_else(|| Fault::new(at, format!("\"{text}\" is not a number")))?;
    Ok((Kind::Literal(value), end))
}

fn quoted(rest: &str, at: usize) -> Result<(Kind, usize), Fault> {
    let (text, length) = unescape(rest, '"', at)?;
    Ok((Kind::Literal(text.into()), length))
}

/// A character stands for its number, as in Go.
fn character(rest: &str, at: usize) -> Result<(Kind, usize), Fault> {
    let (text, length) = unescape(rest, '\'', at)?;
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => Ok((Kind::Literal(u32::from(letter).into()), length)),
        _ => Err(Fault::new(
            at,
            "expected one character between '; strings stand in \"",
        )),
    }
}

fn unescape(rest: &str, quote: char, at: usize) -> Result<(String, usize), Fault> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((place, c)) = chars.next() {
        match c {
            '\n' => break,
            _ if c == quote => return Ok((text, place + 1)),
            '\\' => {
                let (_, escape) = chars
                    .next()
                    .ok_or_else(|| Fault::new(at, "the string does not end"))?;
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                text.push(escaped(escape, &code).ok_or_else(|| {
                    Fault::new(at + place, format!("\\{escape}{code} stands for nothing"))
                })?);
            }
            _ => text.push(c),
        }
    }
    Err(Fault::new(
        at,
        format!("the string does not end: {quote} is missing"),
    ))
}

fn escaped(escape: char, code: &str) -> Option<char> {
    Some(match escape {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '"' | '\'' => escape,
        'x' | 'u' | 'U' => char::from_u32(u32::from_str_radix(code, 16).ok()?)?,
        _ => return None,
    })
}
