//! The store: a hash tag's keys, wherever they are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::FromRedisValue;

use super::connection::Connection;
use super::finder::Finder;
use super::library::{Functions, Library};
use super::url::RedisUrl;
use crate::Error;

/// The client's own default of half a second is shorter than a fsync on a busy disk.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys that share one hash tag, on the primary that holds them. Clones share one connection.
#[derive(Clone)]
pub struct RedisStore {
    connection: Connection,
    address: Arc<str>,
}

impl RedisStore {
    /// Finds the primary that holds the keys with `tag` between braces, and checks it, as it will each that
    /// follows. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::RedisUnreachable`] (retryable, but for a wrong password), [`Error::RedisReplica`],
    /// [`Error::RedisTooOld`], [`Error::RedisEvicts`].
    pub async fn connect(url: &RedisUrl, tag: &str) -> Result<Self, Error> {
        let connection = Connection::open(Finder::new(url.clone(), tag, RESPONSE_TIMEOUT)).await?;
        Ok(Self { connection, address: url.to_string().into() })
    }

    /// Hosts and ports, without credentials.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many replicas must have a write before it is answered.
    pub fn replicas(&self) -> usize {
        self.connection.finder().url().replicas()
    }

    /// Whether the present primary keeps an append-only file.
    ///
    /// # Errors
    /// There is no primary now.
    pub async fn appends(&self) -> Result<bool, Error> {
        Ok(self.connection.primary().await?.1.server.appends)
    }

    /// The shared connection, for commands that need no function. It never blocks the others: no
    /// blocking commands here.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// A connection of its own for blocking commands that take at most `longest`.
    ///
    /// # Errors
    /// See [`RedisStore::connect`].
    pub async fn blocking_connection(&self, longest: Duration) -> Result<Connection, Error> {
        Connection::open(self.connection.finder().patient(longest + RESPONSE_TIMEOUT)).await
    }

    /// Runs one command.
    ///
    /// # Errors
    /// [`Error::Redis`]; the command may have run when the connection broke.
    pub async fn query<T: FromRedisValue>(&self, command: &::redis::Cmd) -> Result<T, Error> {
        Ok(command.query_async(&mut self.connection()).await?)
    }

    /// Binds a library to this store and loads it.
    ///
    /// # Errors
    /// [`Error::Redis`], also when the source does not compile.
    pub async fn load(&self, library: Library) -> Result<Functions, Error> {
        let functions = Functions::new(self.clone(), library);
        functions.load().await?;
        Ok(functions)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RedisStore").field("address", &self.address).finish_non_exhaustive()
    }
}
