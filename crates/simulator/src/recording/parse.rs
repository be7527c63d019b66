//! One recording file: comments, the request, the response as it came.

use bytes::Bytes;
use memchr::memmem;

use super::{RecordedRequest, RecordedResponse, Recording};

/// Why a file is no recording of one whole exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// It has several requests or responses, or none.
    #[error("it does not hold exactly one request and one response")]
    NotOneExchange,
    /// Part of it was left out when it was made.
    #[error("part of it was left out when it was recorded")]
    Cut,
    /// The answer never came, or not to its end.
    #[error("the recorded answer does not come to its end")]
    Unfinished,
    /// The request or response is not HTTP.
    #[error("the recorded {0} is not HTTP")]
    NotHttp(&'static str),
}

use RecordingError::{Cut, NotHttp, NotOneExchange, Unfinished};

/// Reads one file.
pub fn parse(name: &str, file: &[u8]) -> Result<Recording, RecordingError> {
    if memmem::find(file, b" cut in this recording only]").is_some() {
        return Err(Cut);
    }
    let (before, rest) = cut(file, b"=====REQUEST=====\n").ok_or(NotOneExchange)?;
    let (request, rest) = cut(rest, b"\n=====RESPONSE=====\n").ok_or(NotOneExchange)?;
    let (response, rest) = cut(rest, b"\n=====END=====\n").ok_or(NotOneExchange)?;
    let many = [before, rest].iter().any(|part| memmem::find(part, b"=====RE").is_some());
    if many {
        return Err(NotOneExchange);
    }
    let (request, response) = (Bytes::copy_from_slice(request), Bytes::copy_from_slice(response));
    let request = read_request(&request)?;
    let head_only = request.method == "HEAD";
    Ok(Recording { name: name.to_owned(), response: read_response(&response, head_only)?, request })
}

fn cut<'f>(file: &'f [u8], at: &[u8]) -> Option<(&'f [u8], &'f [u8])> {
    let found = memmem::find(file, at)?;
    Some((&file[..found], &file[found + at.len()..]))
}

fn read_request(bytes: &Bytes) -> Result<RecordedRequest, RecordingError> {
    let mut slots = vec![httparse::EMPTY_HEADER; 1024];
    let mut head = httparse::Request::new(&mut slots);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else { return Err(NotHttp("request")) };
    Ok(RecordedRequest {
        method: head.method.unwrap_or_default().to_owned(),
        path: head.path.unwrap_or_default().to_owned(),
        headers: owned(head.headers),
        body: bytes.slice(length..),
    })
}

fn read_response(bytes: &Bytes, head_only: bool) -> Result<RecordedResponse, RecordingError> {
    if bytes.trim_ascii().is_empty() {
        return Err(Unfinished);
    }
    let mut slots = [httparse::EMPTY_HEADER; 256];
    let mut head = httparse::Response::new(&mut slots);
    let Ok(httparse::Status::Complete(head_length)) = head.parse(bytes) else {
        return Err(NotHttp("response"));
    };
    let status = head.code.unwrap_or_default();
    if (100..200).contains(&status) {
        return read_response(&bytes.slice(head_length..), head_only);
    }
    let headers = owned(head.headers);
    let length = super::value(&headers, "content-length").and_then(|length| length.parse::<usize>().ok());
    let (chunks, end) = match length {
        _ if head_only => (Vec::new(), head_length),
        Some(length) => {
            let end = head_length + length;
            (vec![bytes.get(head_length..end).map(|_| bytes.slice(head_length..end)).ok_or(Unfinished)?], end)
        }
        None => read_chunks(bytes, head_length)?,
    };
    // What follows belongs to another answer.
    if end != bytes.len() && !bytes[end..].trim_ascii().is_empty() {
        return Err(NotOneExchange);
    }
    Ok(RecordedResponse { status, headers, chunks, raw: bytes.slice(..end), head_length })
}

fn read_chunks(bytes: &Bytes, mut at: usize) -> Result<(Vec<Bytes>, usize), RecordingError> {
    let mut chunks = Vec::new();
    loop {
        let line = at + memmem::find(&bytes[at..], b"\r\n").ok_or(Unfinished)?;
        let digits = std::str::from_utf8(&bytes[at..line]).map_err(|_| Unfinished)?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| Unfinished)?;
        let (start, end) = (line + 2, line + 2 + size);
        if bytes.get(end..end + 2) != Some(b"\r\n") {
            return Err(Unfinished);
        }
        at = end + 2;
        if size == 0 {
            return Ok((chunks, at));
        }
        chunks.push(bytes.slice(start..end));
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WHOLE: &str = "# x\n=====REQUEST=====\nPOST /p HTTP/1.1\r\nA: b\r\n\r\n{}\n=====RESPONSE=====\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\n=====END=====\n# curl exit 0\n";

    #[test]
    fn a_whole_recording_is_read_chunk_by_chunk() {
        let recording = parse("x", WHOLE.as_bytes()).unwrap();
        assert_eq!(recording.request.body.as_ref(), b"{}");
        assert_eq!(recording.request.header("a"), Some("b"));
        assert_eq!(recording.response.chunks, [Bytes::from("abc")]);
        assert!(recording.response.raw.ends_with(b"0\r\n\r\n"));
    }

    #[test]
    fn what_is_not_one_whole_exchange_says_so() {
        let why = |from: &str, to: &str| parse("x", WHOLE.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(why("0\r\n\r\n", ""), Unfinished);
        assert_eq!(why("# curl exit 0", "=====RESPONSE 2====="), NotOneExchange);
        assert_eq!(why("{}", "...[5 bytes in all, cut in this recording only]"), Cut);
        assert_eq!(why("HTTP/1.1 200", "nonsense"), NotHttp("response"));
    }
}
