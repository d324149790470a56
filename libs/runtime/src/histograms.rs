//! Histograms that somebody keeps already, read whenever `/metrics` is.
//!
//! OpenTelemetry's instruments are told of each value, which costs every value; what is counted anyway would be counted
//! twice. So these are on the page only, and not pushed to a collector.

use std::fmt;

use opentelemetry::KeyValue;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::Runtime;

/// One series of a histogram.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whose it is; a label has `_` where an attribute has a dot.
    pub attributes: Vec<KeyValue>,
    /// Upper bounds, ascending, each with how many values are at most that.
    pub buckets: Vec<(f64, u64)>,
    /// How many values there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Runtime {
    /// Adds a histogram to `/metrics`, which `read` tells each time. The name is Prometheus's own, with the unit.
    pub fn observe_histogram(
        &self,
        name: &str,
        description: &str,
        read: impl Fn() -> Vec<Series> + Send + Sync + 'static,
    ) {
        let observed = Desc::new(name.to_owned(), description.to_owned(), Vec::new(), Default::default())
            .and_then(|desc| self.0.metrics.register(Box::new(Observed { desc, read: Box::new(read) })));
        if let Err(error) = observed {
            tracing::error!(name, %error, "a histogram is not on the metrics page");
        }
    }
}

struct Observed {
    desc: Desc,
    read: Box<dyn Fn() -> Vec<Series> + Send + Sync>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("desc", &self.desc).finish_non_exhaustive()
    }
}

impl Collector for Observed {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric((self.read)().iter().map(metric).collect());
        vec![family]
    }
}

fn metric(series: &Series) -> Metric {
    let mut histogram = Histogram::default();
    histogram.set_bucket(series.buckets.iter().map(bucket).collect());
    histogram.set_sample_count(series.count);
    histogram.set_sample_sum(series.sum);
    let mut metric = Metric::default();
    metric.set_label(series.attributes.iter().map(label).collect());
    metric.set_histogram(histogram);
    metric
}

fn bucket((bound, count): &(f64, u64)) -> Bucket {
    let mut bucket = Bucket::default();
    bucket.set_upper_bound(*bound);
    bucket.set_cumulative_count(*count);
    bucket
}

fn label(attribute: &KeyValue) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(attribute.key.as_str().replace('.', "_"));
    label.set_value(attribute.value.to_string());
    label
}
