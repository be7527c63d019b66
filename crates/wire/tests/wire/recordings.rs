//! Gives the recordings' requests and answers as the bytes that went over the wire, chunk framing taken off.

use std::path::Path;

/// One recorded request and its answer.
pub(crate) struct Recording {
    pub(crate) request: Vec<u8>,
    /// The answer's head, as text.
    pub(crate) head: String,
    pub(crate) answer: Vec<u8>,
}

/// Reads `NAME.txt` of the recordings.
pub(crate) fn recording(name: &str) -> Recording {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/recordings").join(format!("{name}.txt"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let request = between(&text, b"=====REQUEST=====\n", b"=====RESPONSE=====\n");
    // Some were written down with plain line feeds in the request's head.
    let blank: &[u8] = if memchr::memchr(b'\r', request).is_some() { b"\r\n\r\n" } else { b"\n\n" };
    let (_, request) = split(request, blank);
    let answer = between(&text, b"=====RESPONSE=====\n", b"\n=====END=====");
    let (head, body) = split(answer, b"\r\n\r\n");
    let head = String::from_utf8(head.to_vec()).unwrap();
    let answer = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_vec() };
    // The recordings end a body with a line feed of their own.
    let request = request.strip_suffix(b"\n").unwrap_or(request).to_vec();
    Recording { request, head, answer }
}

/// The request's body.
pub(crate) fn request(name: &str) -> Vec<u8> {
    recording(name).request
}

/// The answer's body.
pub(crate) fn answer(name: &str) -> Vec<u8> {
    recording(name).answer
}

/// The answer's events as text, each with its blank line.
pub(crate) fn events(stream: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(stream).unwrap();
    text.split_inclusive("\n\n").map(str::to_owned).collect()
}

/// The stream with what differs between two runs of one request made the same.
pub(crate) fn alike(stream: &[u8]) -> Vec<String> {
    events(stream).iter().map(|event| blank(&blank(event, "\"id\":\"", '"'), "\"created\":", ',')).collect()
}

fn blank(event: &str, before: &str, end: char) -> String {
    let Some(at) = event.find(before).map(|at| at + before.len()) else { return event.to_owned() };
    let len = event[at..].find(end).unwrap();
    format!("{}_{}", &event[..at], &event[at + len..])
}

fn between<'a>(text: &'a [u8], start: &[u8], end: &[u8]) -> &'a [u8] {
    let (_, rest) = split(text, start);
    split(rest, end).0
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    let place = memchr::memmem::find(text, at)
        .unwrap_or_else(|| panic!("{:?} is missing", String::from_utf8_lossy(at)));
    (&text[..place], &text[place + at.len()..])
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let (size, rest) = split(body, b"\r\n");
        let size = usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n");
        body = &rest[size + 2..];
    }
}

/// The error event of a vLLM whose engine was killed in mid-stream.
pub(crate) fn engine_killed() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/recordings/s03-engine-killed.txt");
    let text = std::fs::read(path).unwrap();
    let from = memchr::memmem::find(&text, b"data: {\"error\"").unwrap();
    let (line, _) = split(&text[from..], b"\n");
    [line, b"\n\n"].concat()
}
