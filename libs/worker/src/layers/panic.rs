//! A panic of a handler, or of a layer around it, is a failed attempt and no more.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tower::{BoxError, Service};

use super::take_ready;
use crate::{Failure, TaskRequest, TaskService};

/// Catches panics.
#[derive(Clone, Debug)]
pub(super) struct Caught(TaskService);

impl Caught {
    pub(super) fn new(inner: TaskService) -> Self {
        Self(inner)
    }
}

impl Service<TaskRequest> for Caught {
    type Response = Bytes;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let mut inner = take_ready(&mut self.0);
        let work = AssertUnwindSafe(async move { inner.call(request).await });
        Box::pin(async move {
            work.catch_unwind().await.unwrap_or_else(|panic| Err(Box::new(failure_of(panic.as_ref()))))
        })
    }
}

/// The failure of an attempt that panicked; it names what the panic said.
pub(crate) fn failure_of(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::new("HANDLER_PANICKED", format!("the handler panicked: {}", text.unwrap_or("without a word")))
}
