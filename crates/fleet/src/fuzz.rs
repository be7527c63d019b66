//! What must be true of a page of metrics, whatever stands in it.

use crate::Reported;

/// The figures are within their bounds, and those of one line are found wherever it stands.
pub fn report(page: &[u8]) {
    let read = Reported::read(page);
    assert!(read.is_none_or(|read| (0.0..=1.0).contains(&read.cache)), "{read:?}");
    let known = b"vllm:num_requests_waiting{engine=\"0\"} 3.0\n";
    let Some(with) = Reported::read(&[known.as_slice(), page].concat()) else { panic!("a figure is lost") };
    let waiting = read.map_or(0, |read| read.waiting);
    assert_eq!(with.waiting, waiting.saturating_add(3));
}
