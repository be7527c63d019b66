//! Which server keeps which response, and whose it is: for `previous_response_id` and `/v1/responses/{id}`.
//!
//! vLLM keeps responses in the memory of one process and gives them to whoever knows the id. The gateway remembers of each
//! that it passed on who asked for it and who made it, and lets nobody else come near it.

mod keeper;
mod table;

pub(crate) use keeper::Keeper;
pub(crate) use table::{Home, Responses};
