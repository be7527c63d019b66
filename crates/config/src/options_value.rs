//! The options of a filter as JSON with sorted keys: equal for equal options, however the file spells them.

use serde_json::{Map, Number, Value as Json};
use toml::de::{DeInteger, DeValue};
use vllm_gateway_sdk::decode::Value;

pub(crate) fn to_json(value: &Value<'_>) -> Json {
    match value.get_ref() {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(number) => integer(number),
        // Infinity and NaN have no JSON, but must differ from each other all the same.
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(float) => Json::Number(float),
            None => Json::String(number.to_string()),
        },
        DeValue::Boolean(yes) => Json::Bool(*yes),
        DeValue::Datetime(time) => Json::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(to_json).collect(),
        DeValue::Table(table) => {
            let mut members: Vec<_> =
                table.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(value))).collect();
            // Whether serde_json's map sorts by itself depends on who else is in the binary.
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Json::Object(Map::from_iter(members))
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Json {
    i64::from_str_radix(number.as_str(), number.radix())
        .map(Json::from)
        .or_else(|_| u64::from_str_radix(number.as_str(), number.radix()).map(Json::from))
        .unwrap_or_else(|_| Json::String(number.to_string()))
}
