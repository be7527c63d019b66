//! The parameters of a query, taken one by one, so that each error names the parameter at fault.

use jiff::Timestamp;
use salvo::Request;
use vllm_gateway_sdk::decode::near_miss;
use vllm_gateway_store::MAX_PAGE_SIZE;

use crate::fields::{listed, unknown};
use crate::problem::Problem;
use crate::times;

const PAGE_SIZE: u32 = 20;

/// The parameters of one request, all of them known.
pub(crate) struct Query<'a>(&'a Request);

impl<'a> Query<'a> {
    /// Takes these parameters, each at most once, and no others.
    pub(crate) fn of(req: &'a Request, known: &[&str]) -> Result<Self, Problem> {
        for (name, values) in req.queries().iter_all() {
            if !known.contains(&name.as_str()) {
                return Err(unknown("query parameter", name, known));
            }
            if values.len() > 1 {
                return Err(Problem::invalid(
                    name,
                    format!("the query parameter `{name}` is there more than once"),
                ));
            }
        }
        Ok(Self(req))
    }

    /// As it was sent, be it empty.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.queries().get(name).map(String::as_str)
    }

    /// A text; an empty one, as forms send it, is as good as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|text| !text.is_empty())
    }

    /// One of these words.
    pub(crate) fn word<T>(
        &self,
        name: &str,
        words: &[&str],
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        find(text).map(Some).ok_or_else(|| not_among(name, text, words))
    }

    /// A whole number within these bounds.
    pub(crate) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let range = if most == u64::MAX { format!("{least} or more") } else { format!("{least} to {most}") };
        number
            .map(Some)
            .ok_or_else(|| Problem::invalid(name, format!("`{name}` must be a whole number, {range}")))
    }

    /// A time. A `+` that was not written as `%2B` has become a space on its way.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        times::parse(&text.replace(' ', "+"))
            .map(Some)
            .map_err(|why| Problem::invalid(name, format!("`{name}` {why}")))
    }

    /// The number of the page.
    pub(crate) fn page_num(&self) -> Result<u64, Problem> {
        Ok(self.number("pageNum", 1, u64::MAX)?.unwrap_or(1))
    }

    /// How many items a page has.
    pub(crate) fn page_size(&self) -> Result<u32, Problem> {
        let size = self.number("pageSize", 1, MAX_PAGE_SIZE.into())?;
        Ok(size.and_then(|size| u32::try_from(size).ok()).unwrap_or(PAGE_SIZE))
    }
}

/// The error for a word that is not among those allowed.
pub(crate) fn not_among(name: &str, found: &str, words: &[&str]) -> Problem {
    let hint = near_miss(found, words.iter().copied())
        .map(|near| format!(": did you mean `{near}`?"))
        .unwrap_or_default();
    Problem::invalid(name, format!("`{name}` must be one of {}{hint}", listed(words)))
}
