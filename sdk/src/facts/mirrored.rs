//! What is known of a copy when it begins.

use std::sync::Arc;

use http::request::Parts;

use super::{Facts, RequestId};
use crate::{Mirror, Target};

impl Facts {
    /// The facts of a copy of this request for this mirror. It has a record of its own, under the same `x-request-id`, and
    /// acts for nobody: nobody is to pay for it.
    ///
    /// Its pipeline has a name that no pipeline can have: those have no spaces.
    pub(crate) fn for_mirror(&self, head: &Parts, mirror: &Mirror) -> Self {
        let pipeline = format!("mirror of {}", self.pipeline().unwrap_or_default());
        let id = RequestId::given(self.request_id.as_str());
        let (upstream, model) = (Arc::clone(&mirror.upstream), mirror.model.clone());
        Self {
            mirrored: true,
            model: self.model.clone(),
            target: Some(Target { model, ..Target::upstream(upstream) }),
            stream: self.stream,
            request_bytes: self.request_bytes,
            ..Self::new(head, id, self.client_ip, Some(pipeline.into()))
        }
    }
}
