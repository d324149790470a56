//! Passing calls on to the daemon that leads, so that every daemon of a shared store answers every call.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use nova_client::{Channel, Credentials, Endpoint};
use nova_rpc::Caller;
use tokio::{sync::watch, time::timeout};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::{error::Error, ledger::redis::Role};

/// How long a call waits while nobody is known to lead.
const ELECTION: Duration = Duration::from_secs(5);

/// Who leads, and how to reach it.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    role: watch::Receiver<Role>,
    credentials: Credentials,
    known: Arc<Mutex<Option<Leader>>>,
}

/// The leader that was called last.
#[derive(Debug)]
struct Leader {
    url: Arc<str>,
    channel: Channel,
}

impl Leadership {
    /// Follows `role`; calls the leader with this daemon's credentials.
    pub(crate) fn new(role: watch::Receiver<Role>, credentials: Credentials) -> Self {
        Self { role, credentials, known: Arc::default() }
    }

    fn is_ours(&self) -> bool {
        matches!(*self.role.borrow(), Role::Leader(_))
    }

    /// The channel to the leader; none when this daemon leads.
    async fn leader(&mut self) -> Result<Option<Channel>, Status> {
        // Either way the role says what there is to do.
        drop(timeout(ELECTION, self.role.wait_for(Role::is_known)).await);
        let role = self.role.borrow().clone();
        match role {
            Role::Leader(_) => Ok(None),
            Role::Follower(url) => self.channel(&url).map(Some),
            // The log has it already, from whoever asked the store.
            Role::Unknown(why) => Err(nova_rpc::Error::from(why).into()),
        }
    }

    fn channel(&self, url: &Arc<str>) -> Result<Channel, Status> {
        let mut held = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leader) = held.as_ref().filter(|leader| leader.url == *url) {
            return Ok(leader.channel.clone());
        }
        let endpoint = Endpoint(url.to_string());
        let channel = Channel::new("queue", &endpoint, self.credentials.clone());
        let channel = channel.map_err(|error| Error::Store(format!("{url} is no URL: {error}")))?;
        *held = Some(Leader { url: Arc::clone(url), channel: channel.clone() });
        Ok(channel)
    }
}

/// A service whose calls go to the leader.
#[derive(Debug, Clone)]
pub(crate) struct Forward<S> {
    inner: S,
    leadership: Leadership,
}

impl<S> Forward<S> {
    /// Serves calls with `inner` while this daemon leads.
    pub(crate) fn new(inner: S, leadership: Leadership) -> Self {
        Self { inner, leadership }
    }
}

impl<S: NamedService> NamedService for Forward<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Forward<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.leadership.is_ours() {
            return Box::pin(self.inner.call(request));
        }
        let mut this = self.clone();
        Box::pin(async move {
            match this.leadership.leader().await {
                Ok(None) => this.inner.call(request).await,
                Ok(Some(leader)) => Ok(pass_on(leader, request).await),
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

async fn pass_on(leader: Channel, request: Request<Body>) -> Response<Body> {
    let caller = request.extensions().get::<Arc<Caller>>().cloned().unwrap_or_default();
    let answer = leader.forward(request, caller.spiffe_id.as_ref()).await;
    answer.unwrap_or_else(|status| status.into_http())
}
