//! What every attempt goes through on its way to its handler, and what may be put around one.
//!
//! The worker puts a span, metrics and the catching of panics around everything; a worker's own layers
//! come inside of these.

mod metrics;
pub(crate) mod panic;
mod timeout;
mod trace;

pub use timeout::{Timeout, TimeoutLayer};

use crate::TaskService;
use crate::handler::wrapping;

/// Wraps a service of a worker.
pub(crate) type Wrapping = Box<dyn Fn(TaskService) -> TaskService + Send + Sync>;

/// What is put around every handler, the outermost first.
pub(crate) fn standard() -> Vec<Wrapping> {
    vec![
        Box::new(wrapping(trace::TraceLayer)),
        Box::new(wrapping(metrics::MetricsLayer::new())),
        Box::new(wrapping(tower::layer::layer_fn(panic::Caught::new))),
    ]
}

/// Takes the service that is ready and leaves a clone in its place.
fn take_ready<S: Clone>(service: &mut S) -> S {
    let next = service.clone();
    std::mem::replace(service, next)
}
