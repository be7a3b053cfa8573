//! `GET /metrics`: computed from the status when asked, so that nothing can be stale and nothing outlives its connector.
//!
//! [`own`] are our names, [`java`] and [`mirror`] those that Kafka Connect, its clients and MirrorMaker 2 have after the
//! usual JMX exporter rules. Label values are names of connectors, topics and partitions, and words of ours: their number is
//! bounded by what is configured, and per-partition series by [`MAX_PARTITIONS`].
//!
//! Who asks for OpenMetrics gets it (Prometheus does); everybody else gets the older text format, which more tools read.

mod java;
mod mirror;
mod own;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::answer::{Refusal, typed};
use super::{Readiness, Shared};
use crate::engine::{Engine, Live};
use crate::reconcile::status::Status;

/// Partitions with series of their own; `mirrorkeeper_partition_series_left_out` says how many have none.
const MAX_PARTITIONS: usize = 20_000;

/// How long the engine may take: a scrape must not fail because it hangs.
const PATIENCE: Duration = Duration::from_secs(2);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`
pub(super) async fn scrape<E: Engine>(State(api): Shared<E>, headers: HeaderMap) -> Result<Response, Refusal> {
    let status = api.status.borrow().clone();
    let ready = *api.ready.borrow() == Readiness::Ready;
    // Aliases and classes are in the configurations. Without them only Connect's own names are missing, and one says so.
    let live = tokio::time::timeout(PATIENCE, api.engine.observe()).await.ok().and_then(Result::ok);
    let seen = Seen { status: &status, live: live.as_ref(), ready };
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accepted.flat_map(|value| value.split(',')).any(|kind| kind.contains("application/openmetrics-text"));
    let (kind, text) = match open {
        true => (OPEN_METRICS, encoded(families(&seen))),
        false => (TEXT_FORMAT, plain(&families(&seen))),
    };
    text.map(|text| typed(kind, text))
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written").code("METRICS"))
}

/// What a scrape sees.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    status: &'a Status,
    live: Option<&'a Live>,
    ready: bool,
}

/// All samples of one name.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    counter: bool,
    /// By labels, so that none can appear twice; values of the same labels add up.
    samples: BTreeMap<Labels, f64>,
}

type Labels = Vec<(&'static str, String)>;

fn families(seen: &Seen<'_>) -> Vec<Family> {
    let mut families = own::families(seen);
    families.extend(java::families(seen));
    families.extend(seen.live.map(mirror::families).unwrap_or_default());
    families.retain(|family| !family.samples.is_empty());
    families
}

/// The families as OpenMetrics text.
fn encoded(families: Vec<Family>) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// The families in Prometheus' text format 0.0.4, where the suffix of a counter is part of its name.
fn plain(families: &[Family]) -> Result<String, std::fmt::Error> {
    use std::fmt::Write as _;
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n");
    let mut out = String::new();
    for Family { name, help, counter, samples } in families {
        let (suffix, kind) = if *counter { ("_total", "counter") } else { ("", "gauge") };
        writeln!(out, "# HELP {name}{suffix} {}.\n# TYPE {name}{suffix} {kind}", escaped(help))?;
        for (labels, value) in samples {
            write!(out, "{name}{suffix}")?;
            for (at, (key, value)) in labels.iter().enumerate() {
                let before = if at == 0 { '{' } else { ',' };
                write!(out, "{before}{key}=\"{}\"", escaped(value).replace('"', "\\\""))?;
            }
            writeln!(out, "{} {value:?}", if labels.is_empty() { "" } else { "}" })?;
        }
    }
    Ok(out)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for Family { name, help, counter, samples } in &self.0 {
            let kind = if *counter { MetricType::Counter } else { MetricType::Gauge };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in samples {
                // Braces around no labels are read by few parsers.
                if labels.is_empty() {
                    written(&mut metric, *counter, *value)?;
                } else {
                    written(&mut metric.encode_family(labels)?, *counter, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn written(sample: &mut MetricEncoder<'_>, counter: bool, value: f64) -> Result<(), std::fmt::Error> {
    if counter { sample.encode_counter::<NoLabelSet, f64, f64>(&value, None) } else { sample.encode_gauge(&value) }
}

// === impl Family ===

impl Family {
    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, counter: false, samples: BTreeMap::new() }
    }

    /// Its samples get the suffix `_total`.
    fn counter(name: &'static str, help: &'static str) -> Self {
        Self { counter: true, ..Self::gauge(name, help) }
    }

    fn add<const N: usize>(&mut self, labels: [(&'static str, &str); N], value: f64) {
        let labels = labels.map(|(key, value)| (key, value.to_owned())).to_vec();
        *self.samples.entry(labels).or_default() += value;
    }

    fn with<const N: usize>(mut self, labels: [(&'static str, &str); N], value: f64) -> Self {
        self.add(labels, value);
        self
    }
}

/// Metrics are floating point; above 2^53 the last digits are lost, which no rate notices.
#[expect(clippy::cast_precision_loss, reason = "said above")]
fn float(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    float(value as u64)
}

fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
