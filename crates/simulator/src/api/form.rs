//! Reading `multipart/form-data`.

use bytes::Bytes;
use memchr::memmem;

use super::Cx;
use crate::error::ApiError;

/// A form's parts.
#[derive(Debug, Default)]
pub(crate) struct Form {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    is_file: bool,
    content: Bytes,
}

impl Form {
    /// Reads the body of a request. A body that is no form has no parts (w05).
    pub(crate) fn read(cx: &Cx<'_>) -> Result<Self, ApiError> {
        let content_type = cx.head.header("content-type").unwrap_or("");
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Ok(Self::default());
        }
        let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="));
        boundary
            .and_then(|boundary| Self::parse(&cx.body, boundary.trim_matches('"')))
            .ok_or_else(ApiError::unreadable)
    }

    fn parse(body: &Bytes, boundary: &str) -> Option<Self> {
        let delimiter = format!("--{boundary}");
        let mut at = memmem::find(body, delimiter.as_bytes())? + delimiter.len();
        let next = format!("\r\n{delimiter}");
        let mut form = Self::default();
        while !body[at..].starts_with(b"--") {
            let head_end = at + memmem::find(&body[at..], b"\r\n\r\n")?;
            let start = head_end + 4;
            // The blank line of a part without content is that of the next boundary.
            let end = start + memmem::find(&body[start..], next.as_bytes())?;
            let head = String::from_utf8_lossy(&body[at..head_end]).into_owned();
            let disposition =
                head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
            form.parts.push(Part {
                name: parameter(disposition, "name")?,
                is_file: parameter(disposition, "filename").is_some(),
                content: body.slice(start..end),
            });
            at = end + next.len();
        }
        Some(form)
    }

    /// A field's text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let part = self.parts.iter().find(|part| part.name == name && !part.is_file)?;
        std::str::from_utf8(&part.content).ok()
    }

    /// An uploaded file.
    pub(crate) fn file(&self, name: &str) -> Option<&Bytes> {
        self.parts.iter().find(|part| part.name == name && part.is_file).map(|part| &part.content)
    }

    /// Every field in its order, files as `@`.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, String)> {
        self.parts.iter().map(|part| {
            let text = || String::from_utf8_lossy(&part.content).into_owned();
            (part.name.as_str(), if part.is_file { "@".to_owned() } else { text() })
        })
    }
}

fn parameter(line: &str, name: &str) -> Option<String> {
    let wanted = format!("{name}=");
    let value = line.split(';').map(str::trim).find_map(|part| part.strip_prefix(&wanted))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_are_told_apart_wherever_the_file_stands() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--x\r\n--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n";
        let form = Form::parse(&Bytes::from(body), "b").unwrap();
        assert_eq!(form.field("model"), Some("whisper"));
        assert_eq!(form.file("file").unwrap().as_ref(), b"RIFF\r\n--x");
        assert_eq!(form.field("file"), None);
    }

    #[test]
    fn a_form_without_its_end_is_none() {
        assert!(
            Form::parse(&Bytes::from("--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nabc"), "b")
                .is_none()
        );
        assert!(Form::parse(&Bytes::from("--b"), "b").is_none());
        assert!(Form::parse(&Bytes::new(), "b").is_none());
    }
}
