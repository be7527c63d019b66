//! Reads from a multipart form, as it arrives, the few fields that the gateway must know.
//!
//! The fields may stand anywhere, so also after a large file, which is searched for its end and never copied.
//! Where two parsers could read a form differently it is refused: vLLM must not see another model than we do.

mod error;
mod header;
mod read;

use bytes::Bytes;

pub use error::MultipartError;
pub use read::FormReader;

use crate::edit::{Edits, turn_on};
use crate::peek::{Amount, Cost, Field, FieldValue, Flag, Lax};

/// How many parts a form may have.
pub const MAX_PARTS: usize = 64;

/// How many bytes of headers a part may have.
pub const MAX_HEADERS: usize = 8192;

/// The longest value of a field that is read, in bytes.
pub const MAX_VALUE: usize = 4096;

/// A field that the gateway reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `model`
    Model,
    /// `stream`
    Stream,
    /// `stream_include_usage`
    IncludeUsage,
    /// `stream_continuous_usage_stats`
    ContinuousUsageStats,
    /// `n`, `max_completion_tokens` and the like.
    Amount(Amount),
}

impl Name {
    /// As it is written in the form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stream => "stream",
            Self::IncludeUsage => "stream_include_usage",
            Self::ContinuousUsageStats => "stream_continuous_usage_stats",
            Self::Amount(amount) => amount.name(),
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Model, Self::Stream, Self::IncludeUsage, Self::ContinuousUsageStats]
            .into_iter()
            .chain(Amount::ALL.map(Self::Amount))
            .find(|known| known.as_str() == name)
    }
}

/// What a whole, valid form says. Positions are byte offsets in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The field `model`; `None` if there is none.
    pub model: Option<Field>,
    /// Whether vLLM will stream.
    pub stream: bool,
    /// The field `stream_include_usage`; of several the last, as in Python.
    pub include_usage: Option<Flag>,
    /// The field `stream_continuous_usage_stats`; of several the last.
    pub continuous_usage_stats: Option<Flag>,
    /// How much the form asks for. An empty field is none, as FastAPI takes it.
    pub cost: Cost,
    /// The boundary, without its dashes.
    pub boundary: String,
    /// Offset of the closing boundary's first dash: further parts go there.
    pub close: usize,
    /// Length of the body in bytes.
    pub body_len: usize,
    /// How many parts there are.
    pub parts: usize,
}

impl Form {
    /// The model that is asked for; `None` if it is absent or empty.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_ref().and_then(Field::text)
    }

    /// Whether the client asked for the usage event at the end of its stream.
    pub fn wants_usage(&self) -> bool {
        self.include_usage.as_ref().is_some_and(|flag| flag.value.is_true())
    }

    /// Whether the client asked for running usage in every event. vLLM heeds it only beside the former.
    pub fn wants_running_usage(&self) -> bool {
        self.wants_usage() && self.continuous_usage_stats.as_ref().is_some_and(|flag| flag.value.is_true())
    }

    /// A whole further part, to stand before the closing boundary.
    fn part(&self, name: Name, value: &str) -> String {
        let (boundary, name) = (&self.boundary, name.as_str());
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }
}

/// Makes vLLM report its usage in every event of the stream and at its end.
///
/// Changes nothing where the request does not stream, nor where a field holds what vLLM refuses.
pub fn ask_for_usage(form: &Form) -> Edits {
    let flags = [
        (Name::IncludeUsage, form.include_usage.as_ref()),
        (Name::ContinuousUsageStats, form.continuous_usage_stats.as_ref()),
    ];
    if !form.stream || flags.iter().any(|(_, flag)| flag.is_some_and(|flag| flag.value == Lax::Invalid)) {
        return Edits::none();
    }
    flags.into_iter().fold(Edits::none(), |edits, (name, flag)| match flag {
        Some(flag) => turn_on(edits, flag),
        None => edits.insert(form.close, Bytes::from(form.part(name, "true"))),
    })
}

/// Makes the form name this model, whether it named another or none.
pub fn rename_model(form: &Form, new: &str) -> Result<Edits, MultipartError> {
    // A line end in the value could be read as the start of a boundary.
    if new.chars().any(char::is_control) {
        return Err(MultipartError::UnwritableName);
    }
    Ok(match &form.model {
        Some(field) if matches!(&field.value, FieldValue::Text(old) if old == new) => Edits::none(),
        Some(field) => Edits::none().replace(field.range.clone(), new.to_owned()),
        None => Edits::none().insert(form.close, form.part(Name::Model, new)),
    })
}
