//! Turning new tasks away before they are taken apart, while no more may wait: under a flood that costs more than to
//! refuse them, and workers would wait for it.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::{BoxFuture, Either, FutureExt as _};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use nova_proto::queue::v1::queue_service_server::SERVICE_NAME;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::{REQUEST_BYTES, store::Store};

/// A service that is not called with tasks for which there is no room.
#[derive(Debug, Clone)]
pub(crate) struct Shed<S> {
    inner: S,
    store: Store,
}

impl<S> Shed<S> {
    /// Calls `inner` while tasks may wait for the store.
    pub(crate) fn new(inner: S, store: Store) -> Self {
        Self { inner, store }
    }
}

impl<S: NamedService> NamedService for Shed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Shed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_enqueue(request.uri().path())
            && let Err(full) = self.store.has_room()
        {
            return Either::Right(refuse(request.into_body(), Status::from(full)).boxed());
        }
        Either::Left(self.inner.call(request))
    }
}

/// Answers once the call has been said to its end: the streams of those that are cut short count, and HTTP/2 closes a
/// connection with too many of them.
async fn refuse(mut body: Body, status: Status) -> Result<Response<Body>, Infallible> {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await
        && read <= REQUEST_BYTES
    {
        read += frame.data_ref().map_or(0, |data| data.len());
    }
    Ok(status.into_http())
}

fn is_enqueue(path: &str) -> bool {
    path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME)) == Some("/Enqueue")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_tasks_are_turned_away() {
        assert!(is_enqueue("/nova.queue.v1.QueueService/Enqueue"));
        for other in ["Complete", "Heartbeat", "Work", "EnqueueX", ""] {
            assert!(!is_enqueue(&format!("/nova.queue.v1.QueueService/{other}")), "{other}");
        }
    }
}
