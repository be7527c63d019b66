//! Pages of a list and the checks of their numbers.

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The largest page.
pub const MAX_PAGE_SIZE: u32 = 200;

/// The most records that one call of an export gives.
pub const MAX_EXPORT: u32 = 1_000;

/// One page of a list. It serialises as the admin side answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Its number, counting from 1.
    pub page_num: u64,
    /// How many items a page holds.
    pub page_size: u32,
    /// How many there are on all pages.
    pub total: u64,
}

/// How many items come before that page; an error names what is out of range.
pub(crate) fn items_before(page_num: u64, page_size: u32) -> Result<i64, StoreError> {
    if !(1..=MAX_PAGE_SIZE).contains(&page_size) {
        return Err(StoreError::invalid(format!(
            "page size {page_size} is not within 1 and {MAX_PAGE_SIZE}"
        )));
    }
    let earlier =
        page_num.checked_sub(1).ok_or_else(|| StoreError::invalid("page number 0: pages count from 1"))?;
    // A page beyond every list is empty, not an error: the offset only has to fit the stores' integers.
    Ok(i64::try_from(earlier.saturating_mul(u64::from(page_size))).unwrap_or(i64::MAX))
}

pub(crate) fn check_limit(limit: u32) -> Result<(), StoreError> {
    if (1..=MAX_EXPORT).contains(&limit) {
        return Ok(());
    }
    Err(StoreError::invalid(format!("limit {limit} is not within 1 and {MAX_EXPORT}")))
}
