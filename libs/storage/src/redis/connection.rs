//! A connection that follows its keys: to another server after a failover, to another node when a cluster
//! moves them.
//!
//! What a server says that it has not done is asked again where it points to. Nothing else is repeated here: after a
//! broken connection the caller is told, and the next call looks for the primary.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RetryMethod, ServerErrorKind, Value};
use tokio::time::{Instant, sleep};

use super::finder::{Finder, Primary, name_of};
use crate::Error;

/// How long calls wait for a primary to be found before they fail.
const SEARCH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// How often one call is sent elsewhere.
const REDIRECTS: usize = 5;

/// One connection to the primary that holds a store. Clones share it. Not for transactions: a function is one.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    undivided: bool,
}

struct Shared {
    finder: Finder,
    state: Mutex<State>,
    /// Held by the one that looks for a primary. A call that knows one takes no lock that another call could keep
    /// while nobody polls it.
    search: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Grows with each primary that is found.
    number: u64,
    primary: Option<Primary>,
    /// The node that the slot was last seen moving to.
    importing: Option<String>,
    /// Why none was found, and when: whoever waited meanwhile is told the same.
    failed: Option<(Instant, Error)>,
}

/// What is sent at once.
#[derive(Clone, Copy)]
enum Call<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline, usize, usize),
}

/// What an error asks for.
enum Remedy {
    /// None: it answers the call.
    Tell,
    /// Look for the primary, with the next call.
    Leave,
    /// Send the call to the node that owns the slot now.
    Follow(String),
    /// Send the call to the node that the slot is moving to.
    Ask(String),
}

impl Connection {
    /// Finds the primary.
    pub(super) async fn open(finder: Finder) -> Result<Self, Error> {
        let primary = finder.find().await?;
        let state = State { number: 1, primary: Some(primary), ..State::default() };
        let shared =
            Arc::new(Shared { finder, state: Mutex::new(state), search: tokio::sync::Mutex::default() });
        Ok(Self { shared, undivided: false })
    }

    /// The same for pipelines whose commands must all go to one server, and on one connection to it. While their
    /// slot moves they fail, and can be repeated.
    pub(super) fn undivided(self) -> Self {
        Self { undivided: true, ..self }
    }

    pub(super) fn finder(&self) -> &Finder {
        &self.shared.finder
    }

    /// The present primary, and its number; looks for it when it was lost.
    pub(super) async fn primary(&self) -> Result<(u64, Primary), Error> {
        if let Some(found) = self.state().found() {
            return Ok(found);
        }
        let asked = Instant::now();
        let _one_looks = self.shared.search.lock().await;
        if let Some(found) = self.state().since(asked) {
            return found;
        }
        let found = self.search().await;
        let mut state = self.state();
        match found {
            Ok(primary) => Ok((state.take(primary.clone()), primary)),
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn search(&self) -> Result<Primary, Error> {
        let give_up = Instant::now() + SEARCH;
        loop {
            match self.shared.finder.find().await {
                Err(error) if error.is_retryable() && Instant::now() < give_up => sleep(PAUSE).await,
                found => return found,
            }
        }
    }

    fn leave(&self, number: u64) {
        let mut state = self.state();
        if state.number == number {
            state.primary = None;
        }
    }

    async fn follow(&self, number: u64, address: &str) -> Result<(), Error> {
        let _one_looks = self.shared.search.lock().await;
        if self.state().number == number {
            let primary = self.shared.finder.open(address).await;
            let mut state = self.state();
            state.primary = None;
            state.take(primary?);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call, wherever the keys are.
    async fn send(&self, call: Call<'_>) -> Result<Vec<Value>, RedisError> {
        let mut redirects = 0;
        loop {
            let (number, primary) = self.primary().await.map_err(told)?;
            let answer = call.on(primary.connection).await;
            redirects += 1;
            match remedy(&answer, &primary.address) {
                Remedy::Follow(address) if redirects <= REDIRECTS => {
                    self.follow(number, &address).await.map_err(told)?;
                }
                Remedy::Ask(address) if !self.undivided => return self.ask(call, &address).await,
                Remedy::Tell | Remedy::Ask(_) => return answer,
                Remedy::Leave | Remedy::Follow(_) => {
                    self.leave(number);
                    return answer;
                }
            }
        }
    }

    /// Sends a command without keys to each node that may hold the keys: the primary, which answers it, and the node
    /// that their slot moves to, if it does.
    pub(super) async fn send_to_all(&self, command: &Cmd) -> Result<Value, RedisError> {
        let importing = self.state().importing.clone();
        if let Some(address) = importing
            && let Err(error) = self.send_to(&address, command).await
        {
            tracing::debug!(%error, address, "redis: the node that the slot moved to did not do it");
        }
        self.clone().req_packed_command(command).await?.extract_error()
    }

    async fn send_to(&self, address: &str, command: &Cmd) -> Result<Value, RedisError> {
        self.shared.finder.visit(address).await?.send_packed_command(command).await
    }

    /// While a slot moves, each of its keys is at one of two nodes.
    async fn ask(&self, call: Call<'_>, address: &str) -> Result<Vec<Value>, RedisError> {
        self.state().importing = Some(address.to_owned());
        match call {
            Call::One(command) => {
                let mut pair = ::redis::pipe();
                pair.cmd("ASKING").ignore().add_command(command.clone());
                let mut node = self.shared.finder.visit(address).await?;
                let mut answers = node.send_packed_commands(&pair, 0, 2).await?;
                Ok(answers.split_off(1))
            }
            Call::Many(pipeline, ..) => {
                let mut answers = Vec::new();
                for command in pipeline.cmd_iter() {
                    answers.extend(Box::pin(self.send(Call::One(command))).await?);
                }
                Ok(answers)
            }
        }
    }
}

impl State {
    fn found(&self) -> Option<(u64, Primary)> {
        self.primary.clone().map(|primary| (self.number, primary))
    }

    /// What somebody found who looked at this time or later.
    fn since(&self, asked: Instant) -> Option<Result<(u64, Primary), Error>> {
        let failed = self.failed.as_ref().filter(|(at, _)| *at >= asked);
        self.found().map(Ok).or_else(|| failed.map(|(_, error)| Err(error.clone())))
    }

    fn take(&mut self, primary: Primary) -> u64 {
        tracing::info!(address = &*primary.address, "redis: the primary was found");
        self.number += 1;
        self.primary = Some(primary);
        self.importing = None;
        self.number
    }
}

impl Call<'_> {
    async fn on(self, mut connection: MultiplexedConnection) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::One(command) => connection.send_packed_command(command).await.map(|value| vec![value]),
            Self::Many(pipeline, offset, count) => {
                connection.send_packed_commands(pipeline, offset, count).await
            }
        }
    }
}

fn remedy(answer: &Result<Vec<Value>, RedisError>, address: &str) -> Remedy {
    let error = match answer {
        Err(error) => error.clone(),
        Ok(values) => match values.iter().find_map(error_of) {
            Some(error) => error,
            None => return Remedy::Tell,
        },
    };
    let node = error.redirect_node().map(|(node, _)| match node.strip_prefix(':') {
        Some(port) => format!("{}:{port}", name_of(address)),
        None => node.to_owned(),
    });
    match (error.retry_method(), node) {
        (RetryMethod::MovedRedirect, Some(node)) => Remedy::Follow(node),
        (RetryMethod::AskRedirect, Some(node)) => Remedy::Ask(node),
        _ if loses(&error) => Remedy::Leave,
        _ => Remedy::Tell,
    }
}

fn error_of(value: &Value) -> Option<RedisError> {
    match value {
        Value::ServerError(error) => Some(error.clone().into()),
        _ => None,
    }
}

/// Whether this is no way to the primary any more. A server that does not answer may be cut off, and one that
/// was deposed says so to those that it blocks.
fn loses(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Io
        || error.is_unrecoverable_error()
        || error.code() == Some("UNBLOCKED")
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown
            )
        )
}

/// As the client tells errors. What is wrong with a server that was found is told in words.
fn told(error: Error) -> RedisError {
    match error {
        Error::Redis(cause) | Error::RedisUnreachable { cause, .. } => (*cause).clone(),
        Error::RedisReplica { .. } => {
            let words = "the primary is being replaced";
            RedisError::from(std::io::Error::new(std::io::ErrorKind::NotConnected, words))
        }
        other => (ErrorKind::InvalidClientConfig, "the server cannot be used", other.to_string()).into(),
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let answers = self.send(Call::One(command)).await?;
            Ok(answers.into_iter().next().unwrap_or(Value::Nil))
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.send(Call::Many(pipeline, offset, count)))
    }

    /// Every connection is opened on the database of the URL, so that nobody has to select it.
    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connection").field(self.shared.finder.url()).finish()
    }
}
