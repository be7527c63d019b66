//! Runs one target: over its corpus, then over mutations of it until the time is up; keeps the input that fails.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::corpus::{folder, words};
use crate::mutate::Mutator;

/// How long one input may take, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a target for the time that `FUZZ_SECONDS` says, or for a second and a half; a minute in the long mode.
///
/// Panics if the target does on any input, or does not come back. The input is kept in `fuzz/artifacts`, as libFuzzer
/// does it. Says how many inputs it has run.
pub fn drive(name: &'static str, run: fn(&[u8]), corpus: Vec<Vec<u8>>) -> u64 {
    assert!(!corpus.is_empty(), "{name} has no corpus");
    let words = words(name).unwrap_or_else(|error| panic!("the dictionary of {name}: {error}"));
    let present = Arc::new(Mutex::new((0_u64, Vec::new())));
    let (end, ended) = mpsc::channel();
    let worker = {
        let present = Arc::clone(&present);
        thread::Builder::new().name(name.to_owned()).spawn(move || work(run, corpus, words, &present, end))
    };
    let worker = worker.unwrap_or_else(|error| panic!("no thread for {name}: {error}"));
    let mut before = 0;
    while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        let (count, input) = present.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(count > before, "{name} does not come back: {}", kept(name, &input));
        before = count;
    }
    let outcome = worker.join();
    let (count, input) = present.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(outcome.is_ok(), "{name} failed after {count} inputs: {}", kept(name, &input));
    count
}

/// The sender is dropped at the end, whatever it is.
fn work(
    run: fn(&[u8]),
    corpus: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    present: &Mutex<(u64, Vec<u8>)>,
    _end: Sender<()>,
) {
    let one = |input: &[u8]| {
        {
            let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
            present.0 += 1;
            present.1.clear();
            present.1.extend_from_slice(input);
        }
        run(input);
    };
    corpus.iter().for_each(|input| one(input));
    let mut mutator = Mutator::new(corpus, words, 0x5EED_2026_1123_0001);
    let (begun, budget) = (Instant::now(), budget());
    while begun.elapsed() < budget {
        one(&mutator.next());
    }
}

fn budget() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let usual = if std::env::var_os("LONG").is_some() { 60.0 } else { 1.5 };
    Duration::from_secs_f64(seconds.unwrap_or(usual))
}

/// Keeps an input, and says where, and what to do with it.
fn kept(name: &str, input: &[u8]) -> String {
    let folder = folder().join("artifacts").join(name);
    let file: PathBuf = folder.join(format!("test-{}", input.len()));
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&file, input)) {
        Ok(()) => {
            format!("the input is in {}: once mended, put it into fuzz/seeds/{name}", file.display())
        }
        Err(error) => format!("the input could not be kept ({error}): {}", input.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_input_that_fails_is_kept() {
        let run: fn(&[u8]) = |input| assert!(input != b"bad", "as it should");
        let failed = thread::spawn(move || drive("drive-itself", run, vec![b"bad".to_vec()])).join();
        let message = *failed.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("failed after 1 inputs") && message.contains("fuzz/seeds/"), "{message}");
        let kept = folder().join("artifacts/drive-itself/test-3");
        assert_eq!(fs::read(&kept).unwrap(), b"bad");
        fs::remove_dir_all(kept.parent().unwrap()).unwrap();
    }
}
