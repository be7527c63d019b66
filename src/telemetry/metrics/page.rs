//! The page that Prometheus reads: families of numbers with labels, as text.

use prometheus::{Encoder, TextEncoder, proto};

use super::instruments::Instrument;

/// A label's name and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// The page, family by family.
#[derive(Default)]
pub(super) struct Page(Vec<proto::MetricFamily>);

impl Page {
    /// Begins the family `vllm_gateway_NAME`.
    pub(super) fn family<I: Instrument>(&mut self, name: &str, help: &str) -> Family<'_, I> {
        let mut family = proto::MetricFamily::default();
        family.set_name(format!("vllm_gateway_{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(I::KIND);
        Family { page: self, head: family, metrics: Vec::new(), kind: std::marker::PhantomData }
    }

    /// Adds families that somebody else has gathered.
    pub(super) fn extend(&mut self, families: Vec<proto::MetricFamily>) {
        self.0.extend(families);
    }

    /// All of it, by name. A family without a number is left out.
    pub(super) fn text(mut self) -> String {
        self.0.retain(|family| !family.get_metric().is_empty());
        self.0.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0, &mut text) {
            tracing::error!(%error, "cannot write the metrics");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

/// A family that is being written.
pub(super) struct Family<'a, I> {
    page: &'a mut Page,
    head: proto::MetricFamily,
    metrics: Vec<proto::Metric>,
    kind: std::marker::PhantomData<I>,
}

impl<I: Instrument> Family<'_, I> {
    /// One number of it.
    pub(super) fn put(&mut self, labels: &[Label<'_>], instrument: &I) {
        let mut metric = instrument.read();
        let pair = |(name, value): &Label<'_>| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        metric.set_label(labels.iter().map(pair).collect());
        self.metrics.push(metric);
    }
}

impl<I> Drop for Family<'_, I> {
    fn drop(&mut self) {
        self.head.set_metric(std::mem::take(&mut self.metrics));
        self.page.0.push(std::mem::take(&mut self.head));
    }
}
