//! What a request asks for, held against what it may.

use vllm_gateway_sdk::{Amount, Cost, Error, Generates, List, Member, Peeked, http::StatusCode};

/// How many tokens vLLM continues a prompt by where nothing is said.
const TEXT_DEFAULT: u32 = 16;

/// The caps; what is absent is not bounded.
pub(crate) struct Caps {
    pub(crate) choices: Option<u32>,
    pub(crate) tokens: Option<u32>,
    /// What is sent to vLLM where it would otherwise generate for as long as there is room.
    pub(crate) default_tokens: Option<u32>,
    pub(crate) prompts: Option<u32>,
}

impl Caps {
    /// Refuses what is over a cap. Of a key that stands several times, every place counts.
    pub(crate) fn check(&self, generates: Generates, cost: &Cost) -> Result<(), Error> {
        if let Some(cap) = self.prompts {
            check_prompts(cap, generates, cost)?;
        }
        if generates == Generates::Nothing {
            return Ok(());
        }
        if let Some(cap) = self.tokens {
            check_tokens(cap, cost)?;
        }
        match self.choices {
            Some(cap) => check_choices(cap, cost),
            None => Ok(()),
        }
    }

    /// What must be set for the sake of the cap, because the request leaves to vLLM how many tokens it generates.
    pub(crate) fn left_open(&self, generates: Generates, json: &Peeked) -> Option<(Amount, u32)> {
        let default = self.default_tokens?;
        let asked = |amount| json.cost.amount(amount);
        let is_open = |amount| asked(amount).is_open();
        // vLLM may take a zero there for nothing.
        let chat = || is_open(Amount::MaxTokens) && asked(Amount::MaxCompletionTokens).is_zero_or_open();
        let text = || {
            let is_null = is_open(Amount::MaxTokens) && asked(Amount::MaxTokens).last.is_some();
            is_null || (is_open(Amount::MaxTokens) && default < TEXT_DEFAULT)
        };
        let has = |member| json.members.has(member);
        let (amount, open) = match generates {
            Generates::Chat => (Amount::MaxTokens, chat()),
            Generates::Text => (Amount::MaxTokens, text()),
            Generates::Response => (Amount::MaxOutputTokens, is_open(Amount::MaxOutputTokens)),
            Generates::Any => {
                let has_prompt = has(Member::Prompt) || has(Member::PromptEmbeds);
                (Amount::MaxTokens, (has(Member::Messages) && chat()) || (has_prompt && text()))
            }
            // Whoever does not say it there is refused by vLLM.
            Generates::Message | Generates::Nothing => return None,
        };
        open.then_some((amount, default))
    }
}

fn check_tokens(cap: u32, cost: &Cost) -> Result<(), Error> {
    for amount in [Amount::MaxCompletionTokens, Amount::MaxTokens, Amount::MaxOutputTokens] {
        let Some(asked) = cost.amount(amount).most.filter(|asked| *asked > cap.into()) else { continue };
        let name = amount.name();
        let what = asks_for(name, asked, "tokens");
        return Err(over(
            name,
            format!("{what}, and at most {cap} may be asked for here: send a smaller one"),
        ));
    }
    Ok(())
}

fn check_choices(cap: u32, cost: &Cost) -> Result<(), Error> {
    let of = |amount| (cost.amount(amount).most.unwrap_or(1), amount);
    let (n, best_of) = (of(Amount::N), of(Amount::BestOf));
    let (each, amount) = if best_of.0 > n.0 { best_of } else { n };
    let name = amount.name();
    if each > cap.into() {
        let what = asks_for(name, each, "choices");
        return Err(over(
            name,
            format!("{what}, and at most {cap} may be asked for at once: send a smaller one"),
        ));
    }
    let texts = cost.listed(List::Prompt).saturating_add(cost.listed(List::PromptEmbeds));
    let (prompts, list) = match cost.listed(List::Messages) {
        conversations if conversations > texts => (conversations, List::Messages),
        _ if cost.listed(List::Prompt) == 0 => (texts, List::PromptEmbeds),
        _ => (texts, List::Prompt),
    };
    let choices = u64::try_from(prompts).unwrap_or(u64::MAX).saturating_mul(each);
    if choices <= cap.into() {
        return Ok(());
    }
    let message = format!(
        "{prompts} prompts with {each} choices each make {choices} choices, and at most {cap} may be asked for at once: \
         send fewer prompts in one request, or a smaller `n`"
    );
    Err(over(list.name(), message))
}

fn check_prompts(cap: u32, generates: Generates, cost: &Cost) -> Result<(), Error> {
    let lists = List::ALL.into_iter().filter(|list| match generates {
        Generates::Nothing | Generates::Any => true,
        // The documents of a chat, or the items of a response's input, are part of one prompt.
        _ => matches!(list, List::Prompt | List::PromptEmbeds | List::Messages),
    });
    for list in lists {
        let beside = if list == List::PromptEmbeds { cost.listed(List::Prompt) } else { 0 };
        let count = cost.listed(list).saturating_add(beside);
        if u64::try_from(count).is_ok_and(|count| count <= cap.into()) {
            continue;
        }
        let name = list.name();
        let message = format!(
            "`{name}` makes {count} prompts, and at most {cap} may be sent at once: send them in several requests"
        );
        return Err(over(name, message));
    }
    Ok(())
}

/// `u64::MAX` stands for whatever cannot be counted.
fn asks_for(name: &str, asked: u64, what: &str) -> String {
    match asked {
        u64::MAX => format!("`{name}` is no number, or too large for one"),
        asked => format!("`{name}` asks for {asked} {what}"),
    }
}

fn over(param: &'static str, message: String) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "cost_cap_exceeded", message).param(param)
}
