//! The command line: `--name`, `--name VALUE`, and nothing else.

use std::str::FromStr;

/// Those that stand alone. The first is cargo's.
const FLAGS: [&str; 4] = ["--bench", "--write", "--smoke", "--weighted"];
/// Those with a value.
const OPTIONS: [&str; 9] = [
    "--policies",
    "--traces",
    "--seconds",
    "--rounds",
    "--load",
    "--rate",
    "--seed",
    "--upstream",
    "--program",
];

pub(crate) struct Args(Vec<(String, Option<String>)>);

impl Args {
    /// What was given, if all of it is known: a misspelled option is not to measure something else for half an hour.
    pub(crate) fn read() -> Result<Self, String> {
        let (mut given, mut rest) = (Vec::new(), std::env::args().skip(1));
        while let Some(name) = rest.next() {
            let value = match name.as_str() {
                flag if FLAGS.contains(&flag) => None,
                option if OPTIONS.contains(&option) => {
                    Some(rest.next().ok_or_else(|| format!("`{option}` lacks its value"))?)
                }
                other => {
                    let known = FLAGS[1..].iter().chain(&OPTIONS).copied().collect::<Vec<_>>().join(", ");
                    return Err(format!("`{other}` is no option; there are {known}"));
                }
            };
            given.push((name, value));
        }
        Ok(Self(given))
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|(name, _)| name == flag)
    }

    pub(crate) fn text(&self, option: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == option)?.1.as_deref()
    }

    pub(crate) fn number<T: FromStr>(&self, option: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(option) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("`{option} {text}`: a number was expected"))
    }

    /// Names with commas between them.
    pub(crate) fn list(&self, option: &str) -> Option<Vec<&str>> {
        Some(self.text(option)?.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
    }

    /// How to do the same again.
    pub(crate) fn spelled(&self) -> String {
        let words = self.0.iter().filter(|(name, _)| name != "--bench" && name != "--program");
        let words = words.flat_map(|(name, value)| [Some(name.as_str()), value.as_deref()]);
        words.flatten().collect::<Vec<_>>().join(" ")
    }
}
