//! The shape of JSON: keys, their order, nulls and types, without the values that differ from run to run.

/// Strings of these keys are compared as they are.
const LITERAL: [&str; 13] = [
    "object",
    "type",
    "role",
    "finish_reason",
    "stop_reason",
    "status",
    "detail",
    "owned_by",
    "param",
    "truncation",
    "tool_choice",
    "service_tier",
    "reason",
];
/// What is under these keys is a map of tokens, or depends on the text: only whether it is null is compared.
const OPAQUE: [&str; 2] = ["top_logprobs", "prompt_logprobs"];

/// The shape of a JSON text. `None` if it is not JSON.
pub fn shape(json: &str) -> Option<String> {
    let mut reader = Reader { bytes: json.as_bytes(), at: 0 };
    let shape = reader.value("")?;
    (reader.at == json.len()).then_some(shape)
}

/// The shapes of a stream's events, each run of equal ones once. What the last delta of a choice holds depends on
/// the text (it may be empty), so it is not compared.
pub fn stream_shape(body: &str) -> Vec<String> {
    let mut shapes: Vec<String> = Vec::new();
    for event in body.split("\n\n").filter(|event| !event.is_empty()) {
        let mut whole = String::new();
        for line in event.lines() {
            match line.strip_prefix("data: ") {
                Some("[DONE]") => whole.push_str("[DONE]"),
                Some(data) => whole.push_str(&shape(data).unwrap_or_else(|| format!("not JSON: {data}"))),
                None => whole.push_str(line),
            }
        }
        if whole.contains("finish_reason:\"") {
            whole = without_delta(&whole);
        }
        if shapes.last() != Some(&whole) {
            shapes.push(whole);
        }
    }
    shapes
}

fn without_delta(shape: &str) -> String {
    let Some(start) = shape.find("delta:{") else { return shape.to_owned() };
    let end = start + shape[start..].find('}').unwrap();
    format!("{}delta:…{}", &shape[..start], &shape[end + 1..])
}

struct Reader<'j> {
    bytes: &'j [u8],
    at: usize,
}

impl Reader<'_> {
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn string(&mut self) -> Option<String> {
        self.eat(b'"')?;
        let start = self.at;
        while *self.bytes.get(self.at)? != b'"' {
            self.at += if self.bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        Some(String::from_utf8_lossy(&self.bytes[start..self.at - 1]).into_owned())
    }

    fn spaces(&mut self) {
        while self.bytes.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    fn value(&mut self, key: &str) -> Option<String> {
        let shape = match self.bytes.get(self.at)? {
            b'"' => {
                let text = self.string()?;
                if LITERAL.contains(&key) { format!("\"{text}\"") } else { "s".to_owned() }
            }
            b'{' => self.object()?,
            b'[' => self.array(key)?,
            _ => {
                let start = self.at;
                while self.bytes.get(self.at).is_some_and(|byte| !b",]}".contains(byte)) {
                    self.at += 1;
                }
                let word = std::str::from_utf8(&self.bytes[start..self.at]).ok()?;
                match word {
                    "null" | "true" | "false" => word.to_owned(),
                    // Python writes floats with their point: that much of a number is its shape.
                    number if number.parse::<f64>().is_ok() => {
                        (if number.contains(['.', 'e']) { "f" } else { "n" }).to_owned()
                    }
                    _ => return None,
                }
            }
        };
        Some(if OPAQUE.contains(&key) && shape != "null" { "…".to_owned() } else { shape })
    }

    fn object(&mut self) -> Option<String> {
        let mut members = Vec::new();
        self.eat(b'{')?;
        while self.eat(b'}').is_none() {
            let key = self.string()?;
            self.eat(b':')?;
            self.spaces();
            members.push(format!("{key}:{}", self.value(&key)?));
            if self.eat(b',').is_some() {
                self.spaces();
            }
        }
        Some(format!("{{{}}}", members.join(",")))
    }

    fn array(&mut self, key: &str) -> Option<String> {
        let mut items: Vec<String> = Vec::new();
        self.eat(b'[')?;
        while self.eat(b']').is_none() {
            let item = self.value(key)?;
            if items.last() != Some(&item) {
                items.push(item);
            }
            if self.eat(b',').is_some() {
                self.spaces();
            }
        }
        Some(format!("[{}]", items.join(",")))
    }
}
