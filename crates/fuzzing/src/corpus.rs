//! The inputs to begin with: those that were made from the recordings, and the files in `fuzz/seeds`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of what belongs to fuzzing.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The corpus of a target: what was made for it, and what lies in `fuzz/seeds/NAME`, in the order of the names.
pub fn corpus(name: &str, made: Vec<Vec<u8>>) -> io::Result<Vec<Vec<u8>>> {
    let folder = folder().join("seeds").join(name);
    let mut corpus = made;
    if folder.is_dir() {
        let mut files: Vec<_> =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.sort();
        for file in files {
            corpus.push(fs::read(file)?);
        }
    }
    Ok(corpus)
}

/// Writes a corpus to `fuzz/corpus/NAME`, where libFuzzer begins, beside what it has found there.
pub fn write_corpus(name: &str, corpus: &[Vec<u8>]) -> io::Result<()> {
    let folder = folder().join("corpus").join(name);
    fs::create_dir_all(&folder)?;
    for (at, input) in corpus.iter().enumerate() {
        fs::write(folder.join(format!("made-{at:04}")), input)?;
    }
    Ok(())
}

/// The words of a target, from `fuzz/dictionaries/NAME.dict` in libFuzzer's format: `"text"`, with `\xNN`, `\"`, `\\`.
pub(crate) fn words(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let file = folder().join("dictionaries").join(format!("{name}.dict"));
    let text = if file.is_file() { fs::read_to_string(file)? } else { String::new() };
    let quoted = text.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix('"'));
    Ok(quoted.map(unescaped).collect())
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                let byte =
                    std::str::from_utf8(&digits).ok().and_then(|text| u8::from_str_radix(text, 16).ok());
                out.extend(byte);
                rest = &tail[3..];
            }
            (b'\\', [escaped, ..]) => {
                out.push(*escaped);
                rest = &tail[1..];
            }
            _ => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn words_are_read_as_libfuzzer_reads_them() {
        assert_eq!(unescaped(r#"data: {\"a\"\\\x0a\x0D}"#), b"data: {\"a\"\\\n\r}");
    }
}
