//! `[store]`, whose `kind` decides what else may stand there.

use toml::de::{DeTable, DeValue};
use vllm_gateway_sdk::decode::{Problem, Value, decode, near_miss};

use super::{Section, deciding};
use crate::{StoreOptions, report::Report};

/// Which options belong to which kind.
const OPTIONS: [(&str, &str); 3] = [("path", "sqlite"), ("uri", "mongodb"), ("database", "mongodb")];

pub(super) fn read<'t>(root: &mut DeTable<'t>, report: &mut Report) -> Section<'t, StoreOptions> {
    let Some(mut value) = root.remove("store") else {
        let options = Some(StoreOptions::default());
        return Section { name: "store".to_owned(), place: 0..0, value: None, options };
    };
    let place = value.span();
    let kind = match value.get_mut() {
        DeValue::Table(table) => {
            let known = |name: &str| OPTIONS.iter().any(|(option, _)| *option == name);
            deciding(table, "kind", &known, "store", report)
        }
        _ => None,
    };
    let default = StoreOptions::KINDS[0];
    let name = kind.as_ref().map_or(Some(default), |kind| kind.get_ref().as_str());
    let (options, mut problems) = match name {
        Some("sqlite") => {
            let (options, problems) = decode(&value);
            (options.map(StoreOptions::Sqlite), problems)
        }
        Some("mongodb") => {
            let (options, problems) = decode(&value);
            (options.map(StoreOptions::Mongodb), problems)
        }
        // What else stands there cannot be judged without knowing the kind.
        other => {
            unknown_kind(kind.as_ref(), other, report);
            (None, Vec::new())
        }
    };
    for problem in &mut problems {
        if let Some(hint) = other_kind(problem, &value, name.unwrap_or(default), kind.is_some()) {
            problem.hint = Some(hint);
        }
    }
    report.problems(problems, &place, "store");
    Section { name: "store".to_owned(), place, value: Some(value), options }
}

fn unknown_kind(kind: Option<&Value<'_>>, name: Option<&str>, report: &mut Report) {
    let Some(kind) = kind else { return };
    let kinds = StoreOptions::KINDS;
    let message = match name {
        Some(name) => format!("store: unknown kind `{}`", name.escape_debug()),
        None => "store: expected a string in `kind`".to_owned(),
    };
    match name.and_then(|name| {
        near_miss(name, kinds).or_else(|| kinds.into_iter().find(|kind| kind.starts_with(name)))
    }) {
        Some(near) => {
            report.error(kind.span(), format!("{message}, did you mean `{near}`?"));
        }
        None => report.error(kind.span(), message).hint(format!("one of: {}", kinds.join(", "))),
    }
}

/// What to do about an option of another kind of store, and about one that this kind misses.
fn other_kind(problem: &Problem, value: &Value<'_>, kind: &str, written: bool) -> Option<String> {
    if problem.message == "missing field `uri`" {
        return Some(
            "name the variable that holds the connection string: `uri = \"env:MONGODB_URI\"`".to_owned(),
        );
    }
    let table = value.get_ref().as_table().filter(|_| problem.message.starts_with("unknown field"))?;
    let key = table.keys().find(|key| Some(key.span()) == problem.span)?.get_ref();
    let (_, owner) = OPTIONS.iter().find(|(option, owner)| option == key && *owner != kind)?;
    Some(if written {
        format!("`{key}` belongs to `kind = \"{owner}\"`: remove it, or change the kind")
    } else {
        format!("`{key}` belongs to another kind of store: add `kind = \"{owner}\"`")
    })
}
