//! Mutations that look random and are the same in every run.

/// Longer inputs find nothing that shorter ones do not, and take longer.
const LONGEST: usize = 16 << 10;

/// Bytes that parsers treat in a way of their own.
const ODD: [u8; 24] = *b"\0\x01\x7F\x80\xC3\xE2\xEF\xFF\t\n\r \"\\'{}[]:,;%-";

/// Makes inputs of those that it was given.
pub(crate) struct Mutator {
    corpus: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    state: u64,
}

impl Mutator {
    /// The same corpus, words and seed give the same inputs.
    pub(crate) fn new(corpus: Vec<Vec<u8>>, words: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { corpus, words, state: seed | 1 }
    }

    /// The next input: one of the corpus, changed in one to eight ways.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut input = self.other();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let behind = self.below(32).min(input.len() - at);
        match self.below(10) {
            0 | 1 => {
                let bit = self.below(8);
                input.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << bit);
            }
            2 => {
                let odd = ODD[self.below(ODD.len())];
                input.get_mut(at).into_iter().for_each(|byte| *byte = odd);
            }
            3 => drop(input.drain(at..at + behind)),
            4 => input.truncate(at),
            5 => {
                let twice = input[at..at + behind].to_vec();
                splice(input, at, 0, &twice);
            }
            6 => {
                let odd = ODD[self.below(ODD.len())];
                let many = self.below(4) + 1;
                splice(input, at, 0, &vec![odd; many]);
            }
            7 => {
                // The beginning of this one and the end of another.
                let other = self.other();
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            8 if !self.words.is_empty() => self.word(input, at, behind),
            _ => self.word(input, at, 0),
        }
    }

    /// Puts a word in the place of some bytes.
    fn word(&mut self, input: &mut Vec<u8>, at: usize, instead_of: usize) {
        let random = self.random();
        if let Some(word) = pick(&self.words, random) {
            splice(input, at, instead_of, word);
        }
    }

    /// Any one of the corpus.
    fn other(&mut self) -> Vec<u8> {
        let random = self.random();
        pick(&self.corpus, random).cloned().unwrap_or_default()
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % bound.max(1) as u64).unwrap_or_default()
    }

    /// Marsaglia's xorshift, the high bits.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 8
    }
}

fn pick(list: &[Vec<u8>], random: u64) -> Option<&Vec<u8>> {
    let at = random.checked_rem(list.len() as u64)?;
    list.get(usize::try_from(at).ok()?)
}

fn splice(input: &mut Vec<u8>, at: usize, instead_of: usize, with: &[u8]) {
    drop(input.splice(at..at + instead_of, with.iter().copied()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_the_same_inputs_again() {
        let inputs = |seed| {
            let corpus = vec![b"{\"model\":\"a\"}".to_vec(), Vec::new()];
            let mut mutator = Mutator::new(corpus, vec![b"null".to_vec()], seed);
            (0..1000).map(|_| mutator.next()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(3));
    }
}
