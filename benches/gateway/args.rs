//! The command line: `--name`, `--name VALUE`, and nothing else.

use std::str::FromStr;

pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn read() -> Self {
        Self(std::env::args().skip(1).collect())
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

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        Some(text.parse().unwrap_or_else(|_| panic!("`{name} {text}`: a number was expected")))
    }
}
