//! The command line: `--name`, `--name VALUE`, `--peers` with or without one, and nothing else.

use std::str::FromStr;

/// Those that stand alone. The first is cargo's.
const FLAGS: &[&str] = &["--bench", "--compare", "--no-haproxy", "--write", "--guard"];
/// Those with a value.
const OPTIONS: &[&str] = &[
    "--program",
    "--rounds",
    "--seconds",
    "--only",
    "--core",
    "--instructions",
    "--threads",
    "--requests",
    "--soak",
    "--streams",
    "--idle",
];

/// Those with a value or without.
const EITHER: &[&str] = &["--peers"];

pub(crate) struct Args(Vec<String>);

impl Args {
    /// What was given, if all of it is known: a misspelled option is not to measure something else for half an hour.
    pub(crate) fn read() -> Result<Self, String> {
        let all: Vec<String> = std::env::args().skip(1).collect();
        let mut rest = all.iter().peekable();
        while let Some(arg) = rest.next() {
            let arg = arg.as_str();
            if EITHER.contains(&arg) {
                rest.next_if(|next| is_value(next));
                continue;
            }
            let known = FLAGS.contains(&arg) || OPTIONS.contains(&arg) && rest.next().is_some();
            if !known {
                let names =
                    FLAGS[1..].iter().chain(EITHER).chain(OPTIONS).copied().collect::<Vec<_>>().join(", ");
                return Err(format!("`{arg}` is no option, or lacks its value; there are {names}"));
            }
        }
        Ok(Self(all))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|arg| arg == name)
    }

    /// All values given under this name.
    pub(crate) fn all<'a>(&'a self, name: &str) -> Vec<&'a str> {
        let pairs = self.0.windows(2).filter(|pair| pair[0] == name);
        pairs.map(|pair| pair[1].as_str()).collect()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The value of one that may stand alone; `None` where it does.
    pub(crate) fn text_if_any(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| is_value(text))
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        Some(text.parse().unwrap_or_else(|_| panic!("`{name} {text}`: a number was expected")))
    }
}

fn is_value(word: &str) -> bool {
    !word.starts_with("--")
}
