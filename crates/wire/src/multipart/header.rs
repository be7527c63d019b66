//! Reads a Content-Type and the headers of a part, refusing what two parsers could read differently.

use super::{MultipartError, Name};

/// The boundary that a Content-Type names.
pub(super) fn boundary(content_type: &str) -> Result<&str, MultipartError> {
    let wrong = MultipartError::ContentType;
    let mut parts = Params::new(content_type);
    let kind = parts.first().map_err(wrong)?;
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err(wrong("multipart/form-data is expected"));
    }
    let mut boundary = None;
    while let Some((name, value)) = parts.next().map_err(wrong)? {
        if name.contains('*') {
            return Err(wrong("an extended parameter is not understood here"));
        }
        if name.eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(wrong("the charset must be utf-8"));
        }
        if name.eq_ignore_ascii_case("boundary") && boundary.replace(value).is_some() {
            return Err(wrong("the boundary is given twice"));
        }
    }
    let boundary = boundary.ok_or(wrong("the boundary is missing"))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    if boundary.is_empty() || boundary.len() > 70 {
        return Err(wrong("the boundary must have 1 to 70 characters"));
    }
    if !boundary.bytes().all(allowed) || boundary.ends_with(' ') {
        return Err(wrong("the boundary holds a character that it must not"));
    }
    Ok(boundary)
}

/// What the headers of a part say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The field, if it is one of those that are read.
    pub(super) name: Option<Name>,
    /// Why the field, if it is one of those that are read, cannot be trusted.
    pub(super) odd: Option<&'static str>,
}

/// Reads the headers of a part, given without the empty line that ends them.
pub(super) fn part(headers: &[u8]) -> Result<Part, &'static str> {
    let headers = std::str::from_utf8(headers).map_err(|_| "something is not UTF-8")?;
    let (mut disposition, mut encoded) = (None, false);
    for line in headers.split("\r\n") {
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err("there is a control character");
        }
        let (name, value) = line.split_once(':').ok_or("a line is not a header")?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("a header's name is malformed");
        }
        if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
            return Err("content-disposition stands twice");
        }
        encoded |= name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
    }
    let (name, file) = field(disposition.ok_or("content-disposition is missing")?)?;
    let odd = match name {
        Some(_) if file => Some("it must be a plain field, not a file"),
        Some(_) if encoded => Some("it must not have a content-transfer-encoding"),
        _ => None,
    };
    Ok(Part { name, odd })
}

/// The field's name, if it is one that is read, and whether the part is a file.
fn field(disposition: &str) -> Result<(Option<Name>, bool), &'static str> {
    let mut parts = Params::new(disposition);
    if !parts.first()?.eq_ignore_ascii_case("form-data") {
        return Err("content-disposition is not form-data");
    }
    let (mut name, mut file) = (None, false);
    while let Some((key, value)) = parts.next()? {
        if key.eq_ignore_ascii_case("name") {
            if value.contains('\\') {
                return Err("the field's name holds a backslash");
            }
            if name.replace(value).is_some() {
                return Err("the field's name is given twice");
            }
        } else if key.eq_ignore_ascii_case("filename") || key.eq_ignore_ascii_case("filename*") {
            file = true;
        } else if key.contains('*') {
            return Err("an extended parameter is not understood");
        }
    }
    Ok((Name::of(name.ok_or("the field's name is missing")?), file))
}

/// The parameters of a header's value: `value; name=token; name="quoted"`.
struct Params<'a> {
    rest: &'a str,
}

impl<'a> Params<'a> {
    fn new(value: &'a str) -> Self {
        Self { rest: value }
    }

    /// What stands before the parameters.
    fn first(&mut self) -> Result<&'a str, &'static str> {
        let end = self.rest.find(';').unwrap_or(self.rest.len());
        let (first, rest) = self.rest.split_at(end);
        self.rest = rest;
        let first = first.trim_matches([' ', '\t']);
        let plain = !first.is_empty() && first.bytes().all(|byte| is_token(byte) || byte == b'/');
        if plain { Ok(first) } else { Err("the value is malformed") }
    }

    /// The next parameter. A quoted value is given without its quotes, its backslashes as they stand.
    fn next(&mut self) -> Result<Option<(&'a str, &'a str)>, &'static str> {
        const MALFORMED: &str = "a parameter is malformed";
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let Some(rest) = self.rest.strip_prefix(';') else {
            return if self.rest.is_empty() { Ok(None) } else { Err(MALFORMED) };
        };
        let rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            // A semicolon too many at the end, as some clients write it.
            self.rest = rest;
            return Ok(None);
        }
        let (name, value) = rest.split_once('=').ok_or(MALFORMED)?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(MALFORMED);
        }
        if let Some(quoted) = value.strip_prefix('"') {
            let end = closing_quote(quoted).ok_or("a quote is not closed")?;
            // Parsers disagree on whether a backslash that is itself escaped shields the quote after it.
            if quoted[..end].ends_with('\\') {
                return Err("a quoted value ends with a backslash");
            }
            self.rest = &quoted[end + 1..];
            return Ok(Some((name, &quoted[..end])));
        }
        let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
        let (value, rest) = value.split_at(end);
        // Wider than a token, since clients leave the quotes off boundaries; but no < and >, which Python strips.
        if value.is_empty() || !value.bytes().all(|byte| is_token(byte) || b"/:?=(),@".contains(&byte)) {
            return Err(MALFORMED);
        }
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

fn closing_quote(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    quoted.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
