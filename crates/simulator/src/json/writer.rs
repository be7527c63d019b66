//! Writing JSON piece by piece: the order of keys and the nulls are part of what is simulated.

/// A buffer that JSON is written to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Json(Vec<u8>);

impl Json {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Text that is already as it should be.
    pub(crate) fn raw(mut self, text: &str) -> Self {
        self.put(text);
        self
    }

    /// A JSON string.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.put_text(text);
        self
    }

    /// A number.
    pub(crate) fn number(mut self, number: usize) -> Self {
        self.put_number(number);
        self
    }

    /// A string or null.
    pub(crate) fn maybe(mut self, text: Option<&str>) -> Self {
        self.put_maybe(text);
        self
    }

    pub(crate) fn put(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn put_maybe(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.put_text(text),
            None => self.put("null"),
        }
    }

    pub(crate) fn put_number(&mut self, mut number: usize) -> &mut Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[start..]);
        self
    }

    /// A float, spelled as Python spells it (`1.0`, not `1`).
    pub(crate) fn put_float(&mut self, number: f64) -> &mut Self {
        self.put(&format!("{number:?}"))
    }

    /// `items` between brackets and commas.
    pub(crate) fn put_list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.put("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.put(",");
            }
            write(self, item);
        }
        self.put("]");
    }

    pub(crate) fn put_text(&mut self, text: &str) -> &mut Self {
        self.put("\"");
        self.put_escaped(text);
        self.put("\"")
    }

    /// The inside of a JSON string. What is not ASCII stays as it is, as with vLLM.
    pub(crate) fn put_escaped(&mut self, text: &str) -> &mut Self {
        let bytes = text.as_bytes();
        let mut clean = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.0.extend_from_slice(&bytes[clean..at]);
            clean = at + 1;
            match byte {
                b'"' => self.put("\\\""),
                b'\\' => self.put("\\\\"),
                b'\n' => self.put("\\n"),
                b'\r' => self.put("\\r"),
                b'\t' => self.put("\\t"),
                0x08 => self.put("\\b"),
                0x0c => self.put("\\f"),
                _ => self.put(&format!("\\u{byte:04x}")),
            };
        }
        self.0.extend_from_slice(&bytes[clean..]);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_vllm_escapes_them() {
        let json = Json::new().text("a\"\\\n\u{1f}é漢\u{7f}\u{2028}").into_bytes();
        assert_eq!(String::from_utf8_lossy(&json), "\"a\\\"\\\\\\n\\u001fé漢\u{7f}\u{2028}\"");
    }

    #[test]
    fn numbers_are_written_in_full() {
        let mut json = Json::new().number(0).raw(" ").number(18_446_744_073_709_551_615);
        json.put(" ").put_float(1.0).put(" ").put_float(-0.5);
        assert_eq!(String::from_utf8_lossy(json.as_bytes()), "0 18446744073709551615 1.0 -0.5");
    }
}
