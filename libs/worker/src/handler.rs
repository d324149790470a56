//! Handlers by kind, and how their types meet the bytes of a task.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, TaskContext};

type Handle = dyn Fn(TaskContext) -> BoxFuture<'static, Result<Bytes, Failure>> + Send + Sync;

/// What was registered.
#[derive(Clone, Default)]
pub(crate) struct Handlers(HashMap<String, Arc<Handle>>);

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Handlers {
    /// Registers a handler; answers false when the kind has one.
    pub(crate) fn add<P, R, F, A>(&mut self, kind: &str, handle: F) -> bool
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        F: Fn(TaskContext, P) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        let erased = move |context: TaskContext| {
            let answer = decode(&context.task.payload).map(|payload| handle(context, payload));
            async move { encode(&answer?.await?) }.boxed()
        };
        self.0.insert(kind.to_owned(), Arc::new(erased)).is_none()
    }

    /// Runs the handler of the task's kind; a panic is a failed attempt.
    pub(crate) async fn run(&self, context: TaskContext) -> Result<Bytes, Failure> {
        let Some(handle) = self.0.get(&context.task.kind) else {
            let message = format!("this worker has no handler for {:?}", context.task.kind);
            return Err(Failure::permanent("UNKNOWN_KIND", message));
        };
        let work = std::panic::AssertUnwindSafe(async { handle(context).await });
        work.catch_unwind().await.unwrap_or_else(|_| {
            Err(Failure::new("HANDLER_PANICKED", "the handler panicked; the worker's log has the place"))
        })
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// An empty payload is read as null.
fn decode<P: DeserializeOwned>(payload: &Bytes) -> Result<P, Failure> {
    let json: &[u8] = if payload.is_empty() { b"null" } else { payload };
    serde_json::from_slice(json).map_err(|error| Failure::permanent("INVALID_PAYLOAD", error))
}

fn encode<R: Serialize>(result: &R) -> Result<Bytes, Failure> {
    let json = serde_json::to_vec(result).map_err(|error| Failure::permanent("INVALID_RESULT", error))?;
    Ok(json.into())
}
