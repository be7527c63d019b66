//! The options of `cost-caps`, and the rules between them.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use vllm_gateway_sdk::BuildError;

use crate::caps::Caps;

/// Options of `cost-caps`. What is left out is not bounded.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// The most choices that the answer to one request may have: its prompts times `n` (or `best_of`).
    max_choices: Option<NonZeroU32>,
    /// The most tokens that may be asked for, for each choice: `max_tokens`, `max_completion_tokens`,
    /// `max_output_tokens`.
    max_tokens: Option<NonZeroU32>,
    /// What vLLM is told where a request does not say how many tokens it wants, and would get the rest of the
    /// context; without it, `max_tokens`. vLLM refuses a prompt that leaves no room for that many.
    default_max_tokens: Option<NonZeroU32>,
    /// The most prompts in one request: of a list of prompts, inputs, texts or documents, or of conversations.
    max_prompts: Option<NonZeroU32>,
}

impl Options {
    /// The caps, if there are any, and if they agree.
    pub(crate) fn caps(self) -> Result<Caps, BuildError> {
        let Self { max_choices, max_tokens, default_max_tokens, max_prompts } = self;
        match (default_max_tokens, max_tokens) {
            (Some(default), Some(most)) if default > most => {
                return Err(BuildError::from(format!("must not be above `max_tokens`, which is {most}"))
                    .at(["default_max_tokens"]));
            }
            (Some(_), None) => {
                let hint = Some("set `max_tokens`, too".to_owned());
                let message = "says what is sent in place of nothing, but nothing bounds what is asked for";
                return Err(BuildError { hint, ..message.into() }.at(["default_max_tokens"]));
            }
            _ => {}
        }
        if max_choices.or(max_tokens).or(max_prompts).is_none() {
            let hint =
                Some("set `max_choices`, `max_tokens` or `max_prompts`, or remove the filter".to_owned());
            return Err(BuildError { hint, ..BuildError::from("nothing is bounded here") });
        }
        let number = |option: Option<NonZeroU32>| option.map(NonZeroU32::get);
        Ok(Caps {
            choices: number(max_choices),
            tokens: number(max_tokens),
            default_tokens: number(default_max_tokens.or(max_tokens)),
            prompts: number(max_prompts),
        })
    }
}
