//! A whole JSON parser's opinion of an object: its members in their order, duplicates and all.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, their values as they are written.
pub(super) struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// The members, if this is a JSON object and nothing else.
    pub(super) fn of(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every value of this name.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.get()).collect()
    }

    /// The last value of this name, which is the one that counts in Python.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.all(name).pop()
    }

    /// The members but for those of these names.
    pub(super) fn without(&self, names: &[&str]) -> Vec<(&str, &str)> {
        let others = self.0.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        others.map(|(name, value)| (name.as_str(), value.get())).collect()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}
