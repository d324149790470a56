//! Handlers by kind, and how their types meet the bytes of a task.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::{BoxError, Layer, Service, ServiceExt as _};

use crate::layers::Wrapping;
use crate::{Context, Failure, TaskRequest, TaskService};

/// A function as a service; see [`handler_fn`].
pub struct HandlerFn<F, P> {
    handle: Arc<F>,
    payload: PhantomData<fn() -> P>,
}

/// Makes a service of a function that takes a typed task, to put layers around that one. The payload is read as JSON
/// into `P` (an empty one as null) and the answer is written as JSON. A payload that cannot be read fails for good, with
/// the reason INVALID_PAYLOAD.
pub fn handler_fn<P, R, F, A>(handle: F) -> HandlerFn<F, P>
where
    P: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(P, Context) -> A + Send + Sync + 'static,
    A: Future<Output = Result<R, Failure>> + Send + 'static,
{
    HandlerFn { handle: Arc::new(handle), payload: PhantomData }
}

impl<F, P> Clone for HandlerFn<F, P> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), payload: PhantomData }
    }
}

impl<F, P> fmt::Debug for HandlerFn<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerFn<{}>", std::any::type_name::<P>())
    }
}

impl<P, R, F, A> Service<TaskRequest> for HandlerFn<F, P>
where
    P: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(P, Context) -> A + Send + Sync + 'static,
    A: Future<Output = Result<R, Failure>> + Send + 'static,
{
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let handle = self.handle.clone();
        Box::pin(async move {
            let payload = decode(&request.payload)?;
            let answer = handle(payload, request.context);
            drop(handle);
            encode(&answer.await?)
        })
    }
}

/// Boxes a service, whatever its error.
pub(crate) fn boxed<S>(service: S) -> TaskService
where
    S: Service<TaskRequest, Response = Bytes> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    TaskService::new(service.map_err(Into::into as fn(S::Error) -> BoxError))
}

/// Reason of an attempt that had no handler.
const UNKNOWN_KIND: &str = "UNKNOWN_KIND";
/// How long a task of a kind that this worker does not know waits for one that does.
const ELSEWHERE: Duration = Duration::from_secs(5);
/// Most unknown kinds that are told in the log; whoever enqueues makes up any number.
const TOLD: usize = 100;

/// What was registered.
#[derive(Clone)]
pub(crate) struct Handlers {
    by_kind: BTreeMap<String, TaskService>,
    /// Works on what has no handler.
    unknown: TaskService,
}

impl Default for Handlers {
    fn default() -> Self {
        Self { by_kind: BTreeMap::new(), unknown: hand_back_unknown() }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_kind.keys()).finish()
    }
}

impl Handlers {
    /// Registers a handler; answers false when the kind has one.
    pub(crate) fn add(&mut self, kind: &str, service: TaskService) -> bool {
        self.by_kind.insert(kind.to_owned(), service).is_none()
    }

    /// Puts a layer around each, one by one: what the layer shares is shared within a kind.
    pub(crate) fn wrap(self, wrapping: &Wrapping) -> Self {
        let by_kind = self.by_kind.into_iter().map(|(kind, service)| (kind, wrapping(service)));
        Self { by_kind: by_kind.collect(), unknown: wrapping(self.unknown) }
    }

    /// Tasks of other kinds are dead at once, in place of being handed back.
    pub(crate) fn fail_unknown(&mut self) {
        self.unknown = boxed(tower::service_fn(fail_unknown));
    }

    /// The handler of a kind; the one of unknown kinds where there is none.
    pub(crate) fn of(&self, kind: &str) -> TaskService {
        self.by_kind.get(kind).unwrap_or(&self.unknown).clone()
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.by_kind.keys().map(String::as_str)
    }
}

/// A layer that is put around services later.
pub(crate) fn wrapping<L>(layer: L) -> impl Fn(TaskService) -> TaskService + Send + Sync + 'static
where
    L: Layer<TaskService> + Send + Sync + 'static,
    L::Service: Service<TaskRequest, Response = Bytes> + Clone + Send + Sync + 'static,
    <L::Service as Service<TaskRequest>>::Error: Into<BoxError>,
    <L::Service as Service<TaskRequest>>::Future: Send + 'static,
{
    move |service| boxed(layer.layer(service))
}

/// Leaves tasks of unknown kinds to other workers: this one may only be older than who enqueued them. The log tells of
/// each kind once.
fn hand_back_unknown() -> TaskService {
    let told = Arc::new(Mutex::new(BTreeSet::new()));
    boxed(tower::service_fn(move |request: TaskRequest| {
        let kind = request.context.task.kind;
        let message = no_handler(&kind);
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD && told.insert(kind) {
            tracing::warn!(queue = request.context.task.queue, "{message}: its tasks are handed back");
        }
        ready(Err::<Bytes, _>(Failure::put_off(UNKNOWN_KIND, message, ELSEWHERE)))
    }))
}

async fn fail_unknown(request: TaskRequest) -> Result<Bytes, Failure> {
    Err(Failure::permanent(UNKNOWN_KIND, no_handler(&request.context.task.kind)))
}

fn no_handler(kind: &str) -> String {
    format!("this worker has no handler for {kind:?}")
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
