//! A copy of an exchange, for a mirror.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Body, Exchange};
use crate::{Error, Mirror, ResponseFilter, Wants};

/// The engine's side of mirroring.
impl Exchange {
    /// Who is to get a copy of this request, if anybody is: told once, so that none is sent twice.
    pub fn take_mirror(&mut self) -> Option<Arc<Mirror>> {
        self.facts.target.as_mut()?.mirror.take()
    }

    /// An exchange of its own for a copy of this request. No filter runs for it; it is followed by what those that follow
    /// this one let follow it. An error says that one of them will not have it sent, and then nobody is told of it.
    pub fn mirrored(&self, mirror: &Mirror) -> Result<Self, Error> {
        let mut copy = Self {
            head: self.head.clone(),
            // It is at hand, and was judged.
            body: Body::Taken,
            limits: Arc::clone(&self.limits),
            route: self.route,
            amounts: self.amounts,
            facts: self.facts.for_mirror(&self.head, mirror),
            watchers: Vec::new(),
            wants: Wants::Nothing,
            events: None,
            end: None,
            early: false,
        };
        let followers =
            catch_unwind(AssertUnwindSafe(|| self.followers_of(&copy))).unwrap_or_else(|_panic| {
                tracing::error!(request_id = self.facts.request_id(), "a filter panicked in on_mirror");
                Err(Error::internal())
            })?;
        followers.into_iter().for_each(|follower| copy.watch(follower));
        Ok(copy)
    }

    fn followers_of(&self, copy: &Self) -> Result<Vec<Box<dyn ResponseFilter>>, Error> {
        self.watchers.iter().filter_map(|watcher| watcher.on_mirror(&copy.facts).transpose()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        net::{IpAddr, Ipv4Addr},
        sync::Mutex,
        time::Duration,
    };

    use http_body_util::{BodyExt, Empty};

    use super::*;
    use crate::{BodyLimits, Ending, Facts, Incoming, Outcome, RequestId, Route, Target};

    type Ends = Arc<Mutex<Vec<(String, Outcome)>>>;

    /// Follows copies, unless it will not have them or panics, and notes the end of what it follows.
    struct Follower(Ends, fn());

    impl ResponseFilter for Follower {
        fn on_mirror(&self, copy: &Facts) -> Result<Option<Box<dyn ResponseFilter>>, Error> {
            (self.1)();
            if copy.model() == Some("refused") {
                return Err(Error::internal());
            }
            Ok(Some(Box::new(Self(Arc::clone(&self.0), self.1))))
        }

        fn on_complete(self: Box<Self>, facts: &Facts, outcome: Outcome) {
            self.0.lock().unwrap().push((facts.pipeline().unwrap().to_owned(), outcome));
        }
    }

    fn exchange(model: &str, asked: fn()) -> (Exchange, Ends) {
        let (head, ()) = http::Request::post("/v1/chat/completions").body(()).unwrap().into_parts();
        let ending = Arc::new(Ending::new(Duration::ZERO));
        let mut ex = Exchange::new(Incoming {
            head,
            body: Empty::new().map_err(|never| match never {}).boxed_unsync(),
            limits: Arc::new(BodyLimits::new(1 << 20, Duration::from_secs(1), 1 << 20, ending)),
            route: Route::of_path("/v1/chat/completions").unwrap(),
            pipeline: Some("default".into()),
            client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: RequestId::given("one"),
        });
        ex.set_model(model);
        let mirror = Mirror { upstream: "next".into(), model: Some("new".into()) };
        ex.route_to(Target { mirror: Some(Arc::new(mirror)), ..Target::upstream("main") }).unwrap();
        let ends = Ends::default();
        ex.watch(Box::new(Follower(Arc::clone(&ends), asked)));
        (ex, ends)
    }

    #[test]
    fn a_copy_has_a_record_of_its_own_and_one_that_is_left_was_interrupted() {
        let (mut ex, ends) = exchange("old", || {});
        let mirror = ex.take_mirror().unwrap();
        assert!(ex.take_mirror().is_none(), "none is sent twice");
        let copy = ex.mirrored(&mirror).unwrap();
        let (one, other) = (ex.facts().record(Outcome::Finished), copy.facts().record(Outcome::Finished));
        assert!(one.id != other.id && one.request_id == other.request_id);
        assert_eq!((one.upstream.as_deref(), other.upstream.as_deref()), (Some("main"), Some("next")));
        assert_eq!((other.model.as_deref(), other.upstream_model.as_deref()), (Some("old"), Some("new")));
        drop(copy);
        drop(ex);
        let expected = [("mirror of default", Outcome::Interrupted), ("default", Outcome::ClientGone)];
        assert_eq!(*ends.lock().unwrap(), expected.map(|(name, outcome)| (name.to_owned(), outcome)));
    }

    #[test]
    fn one_that_is_refused_or_panics_keeps_the_copy_from_being_sent_and_leaves_no_record() {
        for (model, asked) in [("refused", (|| {}) as fn()), ("old", || panic!("as a bad plugin would"))] {
            let (mut ex, ends) = exchange(model, asked);
            let mirror = ex.take_mirror().unwrap();
            assert!(ex.mirrored(&mirror).is_err());
            assert!(ends.lock().unwrap().is_empty(), "{model}");
        }
    }
}
