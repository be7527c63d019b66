//! Reads what callgrind wrote: which function spent how much itself, and whom it called at what cost.

use std::collections::HashMap;

/// A call of one function by another, all of them together.
pub(crate) struct Call {
    pub(crate) caller: usize,
    pub(crate) callee: usize,
    pub(crate) times: u64,
    /// What the callee spent on them, with all that it called.
    pub(crate) cost: u64,
}

/// A profile. Functions are numbered in the order in which they are named.
#[derive(Default)]
pub(crate) struct Profile {
    pub(crate) names: Vec<String>,
    /// What each function spent itself.
    pub(crate) own: Vec<u64>,
    pub(crate) calls: Vec<Call>,
}

impl Profile {
    /// Reads one dump, made with `--demangle=no`: of two functions that differ only in what they are made for, the
    /// readable names are the same, and they would be taken for one.
    pub(crate) fn read(text: &str) -> Self {
        let (mut this, mut places) = (Self::default(), HashMap::new());
        let (mut current, mut callee, mut called) = (0, 0, None);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                current = this.place(&mut places, name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = this.place(&mut places, name);
            } else if let Some(counts) = line.strip_prefix("calls=") {
                called = counts.split(' ').next().and_then(|times| times.parse().ok());
            } else if line.starts_with(|start: char| start.is_ascii_digit() || "+-*".contains(start)) {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or(0);
                match called.take() {
                    Some(times) => this.calls.push(Call { caller: current, callee, times, cost }),
                    None => this.own[current] += cost,
                }
            }
        }
        this
    }

    /// The number behind `(12) name`, or `(12)` once it has been named.
    fn place(&mut self, places: &mut HashMap<String, usize>, text: &str) -> usize {
        let (id, name) = text.split_once(' ').unwrap_or((text, ""));
        let place = *places.entry(id.to_owned()).or_insert_with(|| {
            self.names.push(String::new());
            self.own.push(0);
            self.names.len() - 1
        });
        if !name.is_empty() {
            self.names[place] = readable(name);
        }
        place
    }
}

/// `core::ptr::drop_in_place<…>` out of `_ZN4core3ptr…17h0123456789abcdefE`; other names stay as they are.
fn readable(mangled: &str) -> String {
    let Some(mut rest) = mangled.strip_prefix("_ZN") else { return mangled.to_owned() };
    let mut parts = Vec::new();
    while let Some(digits) =
        rest.find(|character: char| !character.is_ascii_digit()).filter(|digits| *digits > 0)
    {
        let (length, after) = rest.split_at(digits);
        let Some((part, after)) =
            length.parse().ok().and_then(|length: usize| after.split_at_checked(length))
        else {
            break;
        };
        parts.push(part.strip_prefix('_').filter(|part| part.starts_with('$')).unwrap_or(part));
        rest = after;
    }
    let signs = [
        ("$LT$", "<"),
        ("$GT$", ">"),
        ("$u20$", " "),
        ("$C$", ","),
        ("$RF$", "&"),
        ("$u7b$", "{"),
        ("$u7d$", "}"),
        ("..", "::"),
    ];
    parts.pop_if(|part| part.len() == 17 && part.starts_with('h'));
    signs.iter().fold(parts.join("::"), |name, (sign, text)| name.replace(sign, text))
}
