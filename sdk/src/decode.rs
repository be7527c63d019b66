//! Turns a table of `gateway.toml` into an options struct, and reports every problem in it with its place.
//!
//! Serde stops at the first error. Here the entry at fault is taken out and the rest is tried again, until it
//! decodes or nothing is left to take out; so one run tells all. That needs the place of each error, which
//! serde loses in `flatten`, `untagged` and `tag`: option structs do without these three.

use std::{borrow::Cow, ops::Range};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeValue},
};

mod words;

/// A value of `gateway.toml` with the places of all its parts, borrowed from the text of the file.
pub type Value<'t> = Spanned<DeValue<'t>>;

/// Something wrong in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is, in bytes of the file; `None` means the value as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Further problems in one table are not worth the time: nobody reads them.
const ENOUGH: usize = 64;

/// A span that no file has: it marks a value that stands in for a missing one.
const STAND_IN: Range<usize> = usize::MAX..usize::MAX;

/// Decodes a value and collects all its problems.
///
/// There is a value only if there are no problems.
pub fn decode<T: DeserializeOwned>(value: &Value<'_>) -> (Option<T>, Vec<Problem>) {
    let mut rest = value.clone();
    let mut problems: Vec<Problem> = Vec::new();
    // Fields that were taken out, or misspelt, with the places of their tables: they are not missing.
    let mut taken: Vec<(Range<usize>, String)> = Vec::new();
    while problems.len() < ENOUGH {
        let error = match attempt::<T>(&rest) {
            Ok(decoded) => return (problems.is_empty().then_some(decoded), problems),
            Err(error) => error,
        };
        let mut problem = words::problem(&error);
        let mut path = problem.span.as_ref().and_then(|span| path_to(&rest, span)).unwrap_or_default();
        if problem.span == Some(STAND_IN) {
            // Nothing fits in the place of the missing value, so the table that lacks it goes as a whole.
            path.pop();
        } else if let Some(field) = words::missing_field(error.message()) {
            let table = at(&rest, &path).map(Value::span).unwrap_or_default();
            if !taken.contains(&(table, field.to_owned())) {
                problems.push(problem);
            }
            if stand_in(&mut rest, &path, field) {
                continue;
            }
        } else {
            while let Some(index) = element_at_fault::<T>(&rest, &path, &error) {
                path.push(index.to_string());
                problem.span = at(&rest, &path).map(Value::span);
            }
            if words::lacks_brackets(&problem.message) {
                problem.hint = Some(brackets::<T>(&rest, &path, &error));
            }
            words::name_key(&mut problem, &path);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        if let Some((key, holder)) = path.split_last() {
            let table = at(&rest, holder).map(Value::span).unwrap_or_default();
            taken.extend(words::meant(error.message()).map(|field| (table.clone(), field.to_owned())));
            taken.push((table, key.clone()));
        }
        if !take_out(&mut rest, &path) {
            return (None, problems);
        }
    }
    (None, problems)
}

fn attempt<T: DeserializeOwned>(value: &Value<'_>) -> Result<T, toml::de::Error> {
    T::deserialize(toml::de::ValueDeserializer::from(value.clone()))
}

/// Where the error is said of a whole array, the element that it is about: that of a newtype with a check of
/// its own has no place. Elements are decoded in their order, so it is the last one of the shortest beginning
/// of the array that has this error.
fn element_at_fault<T: DeserializeOwned>(
    value: &Value<'_>,
    path: &[String],
    error: &toml::de::Error,
) -> Option<usize> {
    let length = at(value, path)?.get_ref().as_array()?.len();
    let fails = |count: usize| {
        let mut shorter = value.clone();
        if let Some(DeValue::Array(array)) = at_mut(&mut shorter, path).map(Spanned::get_mut) {
            *array = array.iter().take(count).cloned().collect();
        }
        attempt::<T>(&shorter)
            .is_err_and(|other| other.message() == error.message() && other.span() == error.span())
    };
    if fails(0) {
        return None;
    }
    let (mut good, mut bad) = (0, length);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if fails(middle) { bad = middle } else { good = middle }
    }
    (bad > 0).then_some(good)
}

/// How a value that stands alone becomes the array that is wanted; said as it would be written, if that helps.
fn brackets<T: DeserializeOwned>(value: &Value<'_>, path: &[String], error: &toml::de::Error) -> String {
    let key = path.last().map_or("…", String::as_str);
    let usual = || format!("an array stands in brackets: `{key} = […]`");
    let Some(alone) = at(value, path) else { return usual() };
    let mut wrapped = value.clone();
    if let Some(place) = at_mut(&mut wrapped, path) {
        let mut array = DeArray::new();
        array.push(alone.clone());
        *place = Spanned::new(alone.span(), DeValue::Array(array));
    }
    if attempt::<T>(&wrapped).is_err_and(|other| other.span() == error.span()) {
        return usual();
    }
    match alone.get_ref() {
        DeValue::String(text) => format!("write `{key} = [{}]`", toml::Value::from(text.as_ref())),
        DeValue::Table(_) => {
            format!(
                "an array of tables stands in brackets: `{key} = [{{ … }}]`, or has headers in two: `[[…{key}]]`"
            )
        }
        _ => usual(),
    }
}

/// The known word that this one was probably meant to be.
pub fn near_miss<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let simple = |word: &str| word.to_lowercase().replace('-', "_");
    let word = simple(word);
    let allowed = (word.chars().count() / 3).max(1);
    among
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &simple(known)), known))
        .filter(|(distance, known)| *distance <= allowed && *distance < known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The place of a part of a value: keys of tables and indices of arrays lead to it.
///
/// Where the path goes on beyond what is there, the place of the last part that is; `None` if its first step
/// leads nowhere.
pub fn span_of(value: &Value<'_>, path: &[String]) -> Option<Range<usize>> {
    let mut here = value;
    let mut found = None;
    for step in path {
        let Some(next) = child(here, step) else { break };
        found = Some(next.span());
        here = next;
    }
    found
}

fn child<'v, 't>(value: &'v Value<'t>, step: &str) -> Option<&'v Value<'t>> {
    match value.get_ref() {
        DeValue::Table(table) => table.get(step),
        DeValue::Array(array) => array.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

fn at<'v, 't>(value: &'v Value<'t>, path: &[String]) -> Option<&'v Value<'t>> {
    path.iter().try_fold(value, |here, step| child(here, step))
}

fn at_mut<'v, 't>(value: &'v mut Value<'t>, path: &[String]) -> Option<&'v mut Value<'t>> {
    path.iter().try_fold(value, |here, step| child_mut(here, step))
}

fn child_mut<'v, 't>(value: &'v mut Value<'t>, step: &str) -> Option<&'v mut Value<'t>> {
    match value.get_mut() {
        DeValue::Table(table) => table.get_mut(step),
        DeValue::Array(array) => array.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The way to the innermost entry whose key or value has this place. The value itself has the empty path.
fn path_to(value: &Value<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let below = |step: String, part: &Value<'_>, key: Option<Range<usize>>| {
        let deeper = path_to(part, span).or_else(|| (key.as_ref() == Some(span)).then(Vec::new))?;
        Some([vec![step], deeper].concat())
    };
    let inside = match value.get_ref() {
        DeValue::Table(table) => {
            table.iter().find_map(|(key, part)| below(key.get_ref().to_string(), part, Some(key.span())))
        }
        DeValue::Array(array) => {
            array.iter().enumerate().find_map(|(index, part)| below(index.to_string(), part, None))
        }
        _ => None,
    };
    inside.or_else(|| (value.span() == *span).then(Vec::new))
}

/// Takes an entry out; `false` if it is the value itself, or not there.
fn take_out(value: &mut Value<'_>, path: &[String]) -> bool {
    let Some((last, table)) = path.split_last() else { return false };
    let Some(holder) = at_mut(value, table) else { return false };
    match holder.get_mut() {
        DeValue::Table(table) => table.remove(last.as_str()).is_some(),
        DeValue::Array(array) => match last.parse::<usize>() {
            Ok(index) if index < array.len() => {
                // A `DeArray` can only grow, so it is made anew without the entry.
                let mut rest = DeArray::new();
                let others = array.iter().enumerate().filter(|(place, _)| *place != index);
                others.for_each(|(_, part)| rest.push(part.clone()));
                *array = rest;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Puts something in the place of a missing field, so that the fields after it are looked at too.
fn stand_in(value: &mut Value<'_>, path: &[String], field: &str) -> bool {
    let Some(holder) = at_mut(value, path) else { return false };
    let DeValue::Table(table) = holder.get_mut() else { return false };
    let nothing = Spanned::new(STAND_IN, DeValue::String(Cow::Borrowed("")));
    table.insert(Spanned::new(STAND_IN, Cow::Owned(field.to_owned())), nothing).is_none()
}

#[cfg(test)]
mod tests;
