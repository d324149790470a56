//! Spans arrive, or are counted.

use std::time::Duration;

use nova_testkit::{Collector, eventually};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::*;

fn provider(spans: &Spans) -> SdkTracerProvider {
    SdkTracerProvider::builder().with_span_processor(spans.clone()).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_at_the_collector() {
    let collector = tokio::task::spawn_blocking(Collector::start).await.unwrap();
    let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", "queue")).build();
    let spans = Spans::to(&collector.endpoint, MetadataMap::new(), 100, &resource).unwrap();
    let provider = provider(&spans);
    let tracer = provider.tracer("nova");
    tracer.in_span("outer", |_| tracer.in_span("inner", |_| ()));
    let (collector, arrived) = tokio::task::spawn_blocking(move || {
        let arrived = eventually("both arrive", Duration::from_secs(60), || {
            let arrived = collector.spans();
            (arrived.len() == 2).then_some(arrived)
        });
        (collector, arrived)
    })
    .await
    .unwrap();
    assert_eq!((arrived[0].name.as_str(), arrived[1].name.as_str()), ("inner", "outer"));
    assert_eq!(arrived[0].parent, arrived[1].id);
    assert_eq!(arrived[0].service, "queue");
    tokio::task::spawn_blocking(move || drop(collector)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_for_a_collector_that_is_away_are_counted() {
    let resource = Resource::builder_empty().build();
    let spans = Spans::to("http://127.0.0.1:1", MetadataMap::new(), 2, &resource).unwrap();
    let provider = provider(&spans);
    let tracer = provider.tracer("nova");
    (0..5).for_each(|_| tracer.in_span("lost", |_| ()));
    let stopped =
        tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_secs(60)));
    assert!(stopped.await.unwrap().is_ok());
    // How many found no place depends on when the first batch was taken up; none is forgotten.
    assert_eq!((spans.exported(), spans.failed() + spans.0.waiting.dropped()), (0, 5));
}
