//! A bound on the time of an attempt.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tower::{BoxError, Layer, Service};

use super::take_ready;
use crate::{CancelReason, Failure, TaskRequest};

/// Ends attempts that take longer than this: the handler is told to stop ([`CancelReason::TimedOut`]) and dropped,
/// and the attempt fails with the reason TIMEOUT, to be tried again. What
/// [`Context::blocking`](crate::Context::blocking) runs goes on until it ends by itself, and the attempt with it.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer(Duration);

impl TimeoutLayer {
    /// Allows this long.
    pub fn new(limit: Duration) -> Self {
        Self(limit)
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner, limit: self.0 }
    }
}

/// A service with a [`TimeoutLayer`] around it.
#[derive(Clone, Debug)]
pub struct Timeout<S> {
    inner: S,
    limit: Duration,
}

impl<S> Service<TaskRequest> for Timeout<S>
where
    S: Service<TaskRequest, Response = Bytes> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Bytes;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let (cancellation, limit) = (request.context.claim.cancellation.clone(), self.limit);
        let work = take_ready(&mut self.inner).call(request);
        Box::pin(async move {
            match tokio::time::timeout(limit, work).await {
                Ok(ended) => ended.map_err(Into::into),
                Err(_) => {
                    cancellation.cancel(CancelReason::TimedOut);
                    let message = format!("the attempt took longer than {limit:?}");
                    Err(Failure::new("TIMEOUT", message).into())
                }
            }
        })
    }
}
