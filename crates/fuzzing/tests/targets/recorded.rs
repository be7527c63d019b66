//! Inputs made from the recordings of a real vLLM, and from the files that other tests have.

use std::fs;
use std::path::{Path, PathBuf};

use vllm_gateway_simulator::{Recording, load};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn recordings() -> Vec<Recording> {
    load(&root().join("tests/recordings")).unwrap().recordings
}

/// Where an input is cut: the ways in turn.
fn cut(at: usize) -> [u8; 3] {
    [[0, 0, 0], [1, 60, 0], [2, 7, 1], [0, 16, 0]][at % 4]
}

fn of_each(inputs: impl Iterator<Item = Vec<u8>>, head: impl Fn(usize) -> Vec<u8>) -> Vec<Vec<u8>> {
    inputs.enumerate().map(|(at, input)| [head(at), input].concat()).collect()
}

pub(super) fn bodies() -> Vec<Vec<u8>> {
    let bodies = recordings().into_iter().filter(|one| one.request.form().is_none());
    of_each(bodies.map(|one| one.request.body.to_vec()).filter(|body| !body.is_empty()), |at| {
        cut(at).to_vec()
    })
}

pub(super) fn edits() -> Vec<Vec<u8>> {
    of_each(bodies().into_iter().map(|body| body[3..].to_vec()), |at| {
        let [a, b, c] = cut(at / 4);
        vec![u8::try_from(at % 4).unwrap(), a, b, c]
    })
}

pub(super) fn answers() -> Vec<Vec<u8>> {
    let answers = recordings().into_iter().filter(|one| !is_stream(one));
    of_each(answers.map(|one| one.response.chunks.concat()), |at| cut(at).to_vec())
}

/// The beginnings of the answers of `/v1/responses`.
pub(super) fn responses() -> Vec<Vec<u8>> {
    let answers = recordings().into_iter().filter(|one| one.request.path == "/v1/responses");
    let inputs = answers.enumerate().map(|(at, one)| {
        let answer = one.response.chunks.concat();
        let head = &answer[..answer.len().min(400)];
        [&[u8::from(is_stream(&one))], &cut(at)[..], head].concat()
    });
    inputs.collect()
}

fn is_stream(one: &Recording) -> bool {
    one.response.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// Each stream, hidden in both ways; and some whose lines end otherwise.
pub(super) fn streams() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (at, one) in recordings().iter().filter(|one| is_stream(one)).enumerate() {
        let kind = match one.request.path.as_str() {
            "/v1/responses" => 2,
            "/v1/messages" => 3,
            _ => 0,
        };
        let several = if one.name.contains("n2") || one.name.contains("list") { 16 } else { 0 };
        let stream = one.response.chunks.concat();
        for hide in [0, 4, 32] {
            inputs.push([&[kind | several | hide, 2], &cut(at)[..], &stream].concat());
        }
        if at % 6 == 0 {
            let text = String::from_utf8_lossy(&stream);
            for end in ["\r\n", "\r"] {
                let stream = text.replace('\n', end).into_bytes();
                inputs.push([&[kind | several, 1], &cut(at)[..], &stream].concat());
            }
        }
    }
    inputs
}

/// The forms of the recordings, as curl wrote them, with a short file.
pub(super) fn forms() -> Vec<Vec<u8>> {
    const BOUNDARY: &str = "------------------------2c63f0447323d60c";
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let form = |fields: Vec<(String, String)>| {
        let part = |(name, value): (String, String)| {
            let (file, value) = match value.strip_prefix('@') {
                Some(_) => ("; filename=\"tone.wav\"\r\nContent-Type: audio/wav", "RIFF\r\n--\r\n\0\x01"),
                None => ("", value.as_str()),
            };
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
            )
        };
        let parts: String = fields.into_iter().map(part).collect();
        format!("{kind}{parts}--{BOUNDARY}--\r\n").into_bytes()
    };
    let forms = recordings().into_iter().filter_map(|one| one.request.form()).map(form);
    of_each(forms, |at| [&[u8::try_from(kind.len()).unwrap()], &cut(at)[..]].concat())
}

pub(super) fn configurations() -> Vec<Vec<u8>> {
    let folder = root().join("crates/config/tests/check");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.push(root().join("gateway.toml"));
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

fn headers(one: &Recording) -> String {
    let lines = one.request.headers.iter().map(|(name, value)| format!("\n{name}: {value}"));
    lines.collect::<Vec<_>>().concat()
}

pub(super) fn heads() -> Vec<Vec<u8>> {
    let head = |one: Recording| format!("{} {}{}", one.request.method, one.request.path, headers(&one));
    recordings().into_iter().map(|one| head(one).into_bytes()).collect()
}

/// Those of the recordings that show keys, to both kinds of API.
pub(super) fn credentials() -> Vec<Vec<u8>> {
    let shown: Vec<String> =
        recordings().iter().filter(|one| one.name.starts_with("b01")).map(headers).collect();
    shown.iter().flat_map(|lines| ["0", "1"].map(|api| format!("{api}{lines}").into_bytes())).collect()
}

/// What clients call themselves and the paths that they ask for, and keys among them.
pub(super) fn texts() -> Vec<Vec<u8>> {
    let key = "sk-live-01234567-89ab-cdef-0011-223344556677";
    let paths = recordings().into_iter().map(|one| one.request.path);
    let texts = paths.chain([key.to_owned(), format!("/v1/{key}/{}", &key[8..]), format!("x{key} {key}y")]);
    of_each(texts.map(String::into_bytes), |at| vec![[255, 4, 16, 64][at % 4]])
}
