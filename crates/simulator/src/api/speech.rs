//! `/v1/audio/transcriptions` and `/v1/audio/translations`.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::form::Form;
use super::generate::{Choice, Delta, Dialect, Job, Prompt, Usage, complete, request_id, stream};
use super::models::named;
use super::request::JsonBody;
use super::{Cx, Handled, Reply};
use crate::engine::Run;
use crate::error::ApiError;
use crate::http1::{Answer, Interrupt, Wire};
use crate::json::{Json, Problem, truth};
use crate::text::{FIRST_WORD, decode};

/// How many fields the form has with the values that are not sent; the model is none of them.
const USUAL_FIELDS: usize = 13;

/// Speech to text.
pub(crate) async fn transcriptions(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    speech(cx, wire, "transcribe", "transcription.chunk").await
}

/// Speech to English text; its answer has no usage (w04).
pub(crate) async fn translations(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    speech(cx, wire, "translate", "translation.chunk").await
}

async fn speech(cx: &Cx<'_>, wire: &mut Wire<'_>, task: &'static str, object: &'static str) -> Handled {
    let form = Form::read(cx)?;
    let Some(file) = form.file("file") else {
        let fields = USUAL_FIELDS + usize::from(form.field("model").is_some());
        let seen: Map<String, Value> = (0..fields).map(|field| (field.to_string(), Value::Null)).collect();
        return Err(ApiError::invalid(&[Problem::missing("body.file", &Value::Object(seen))]).into());
    };
    let flag = |name: &str| truth(form.field(name).map(Value::from).as_ref()).unwrap_or(false);
    let streamed = flag("stream");
    let (include, continuous) = (flag("stream_include_usage"), flag("stream_continuous_usage_stats"));
    if !streamed {
        let given = [(include, "stream_include_usage"), (continuous, "stream_continuous_usage_stats")];
        if let Some((_, name)) = given.iter().find(|(given, _)| *given) {
            let message = "Stream options can only be defined when `stream=True`.";
            return Err(ApiError::parameter(name, message, None).into());
        }
    }
    let model = named(&cx.shared.options, form.field("model").filter(|name| !name.is_empty()), true)?;
    let seconds = seconds(file).ok_or_else(|| {
        ApiError::bad("Invalid or corrupted audio data. Ensure the input is a valid audio or video file (e.g. a complete WAV, MP3, or MP4).")
    })?;
    let mut job = job(cx, &form, request_id(cx, task, None), model, seconds);
    job.stream = streamed;
    job.usage = Usage::from(cx, include, continuous);
    if streamed {
        stream(cx, job, &mut SpeechEvents { object }, wire).await?;
        return Ok(Reply { answer: None, live: None });
    }
    let (_, choices, run) = complete(cx, job).await?;
    let text = choices.first().map_or("", |choice| choice.text.trim_start());
    let mut json = Json::new();
    json.put("{");
    if form.field("response_format") == Some("verbose_json") {
        json.put(r#""duration":"#).put_text(&format!("{seconds}.0"));
        json.put(r#","language":"#).put_text(form.field("language").unwrap_or("en")).put(",");
    }
    json.put(r#""text":"#).put_text(text);
    if task == "transcribe" {
        json.put(r#","usage":{"type":"duration","seconds":"#).put_number(seconds).put("}");
    }
    json.put("}");
    Ok(Reply { answer: Some(Answer::json(200, json.into_bytes())), live: Some(run.live.clone()) })
}

/// What is heard: the encoder's tokens are the prompt, fifty of them a second.
fn job(cx: &Cx<'_>, form: &Form, id: String, model: String, seconds: usize) -> Job {
    let tokens = vec![FIRST_WORD; 4 + (50 * seconds).min(1500)];
    let prompt = Prompt { text: decode(&tokens), tokens };
    let sent: Map<String, Value> =
        form.fields().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let body = JsonBody { value: Value::Object(sent), lone_surrogate: false };
    let limit = body.count("max_completion_tokens").filter(|limit| *limit > 0);
    let mut job = Job::new(cx, id, model, &body, vec![prompt]);
    job.n = 1;
    job.limits.max_tokens = limit;
    job
}

/// How long the sound is, rounded up; `None` if it is none.
fn seconds(file: &Bytes) -> Option<usize> {
    if file.len() >= 44 && file.starts_with(b"RIFF") && &file[8..12] == b"WAVE" {
        let rate = u32::from_le_bytes(file[28..32].try_into().ok()?);
        let rate = usize::try_from(rate).ok()?.max(1);
        return Some((file.len() - 44).div_ceil(rate).max(1));
    }
    let known = [&b"ID3"[..], b"OggS", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\x1aE\xdf\xa3"];
    let sound = known.iter().any(|start| file.starts_with(start)) || file.get(4..8) == Some(b"ftyp");
    // Of compressed sound the length is guessed: 16 kB are about a second.
    sound.then(|| file.len().div_ceil(16_000).max(1))
}

struct SpeechEvents {
    object: &'static str,
}

impl SpeechEvents {
    fn event(&self, job: &Job, wire: &mut Wire<'_>, write: impl FnOnce(&mut Json)) -> Result<(), Interrupt> {
        wire.event(|json| {
            json.put(r#"data: {"id":"#).put_text(&job.id).put(r#","object":"#).put_text(self.object);
            json.put(r#","created":"#).put_number(job.created).put(r#","model":"#).put_text(&job.model);
            json.put(r#","choices":["#);
            write(json);
            json.put("}\n\n");
        })
    }
}

impl Dialect for SpeechEvents {
    fn open(&mut self, _: &Cx<'_>, _: &Job, _: &[Choice], _: &mut Wire<'_>) -> Result<(), Interrupt> {
        Ok(())
    }

    fn tell(
        &mut self,
        _: &Cx<'_>,
        job: &Job,
        choice: &Choice,
        delta: &Delta,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        let finish = choice.finish.as_ref();
        self.event(job, wire, |json| {
            json.put(r#"{"delta":{"content":"#).put_text(&delta.text).put("}");
            if let Some(finish) = finish {
                json.put(r#","finish_reason":"#).put_text(finish.reason);
                json.put(r#","stop_reason":"#).put_maybe(finish.stop.as_deref());
            } else {
                json.put(r#","finish_reason":null,"stop_reason":null"#);
            }
            json.put("}]");
            if job.usage == Usage::Continuous {
                json.put(",");
                job.put_running_usage(json, choice, false);
            }
        })
    }

    fn close(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        _: &Run,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        if job.usage != Usage::None {
            self.event(job, wire, |json| {
                json.put("],");
                job.put_last_usage(json, cx, choices, false);
            })?;
        }
        wire.event(|json| {
            json.put("data: [DONE]\n\n");
        })
    }
}
