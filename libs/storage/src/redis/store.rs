//! The connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use ::redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError};

use super::library::{Functions, Library};
use super::server;
use crate::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The client's own default of half a second is shorter than a fsync on a busy disk.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// While the manager reconnects all calls wait for it: four tries take about a second.
const RECONNECT_TRIES: usize = 4;
const RECONNECT_DELAY: Duration = Duration::from_millis(50);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);

/// A connection to one Redis server, shared by its clones.
#[derive(Clone)]
pub struct RedisStore {
    client: Client,
    connection: ConnectionManager,
    address: Arc<str>,
}

impl RedisStore {
    /// Connects to `url` (`redis://[user:password@]host:port/database`, `rediss://` for TLS) and checks
    /// the server. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::RedisUnreachable`] (retryable, but for a wrong URL or password), [`Error::RedisTooOld`],
    /// [`Error::RedisEvicts`].
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let unreachable = |address: &str, source: RedisError| Error::RedisUnreachable {
            address: address.to_owned(),
            source: Arc::new(source),
        };
        // The address is not known when the URL cannot be read, and the URL may hold a password.
        let client = Client::open(url).map_err(|error| unreachable("the configured url", error))?;
        let address: Arc<str> = client.get_connection_info().addr().to_string().into();
        let mut connection = ConnectionManager::new_with_config(client.clone(), reconnecting())
            .await
            .map_err(|error| unreachable(&address, error))?;
        let info: String = ::redis::cmd("INFO")
            .query_async(&mut connection)
            .await
            .map_err(|error| unreachable(&address, error))?;
        server::check(&address, &info)?;
        Ok(Self { client, connection, address })
    }

    /// Host and port, without credentials.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The shared connection, for commands that need no function. It never blocks the others: no
    /// blocking commands here.
    pub fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// A connection of its own for blocking commands that take at most `longest`. It does not reconnect.
    ///
    /// # Errors
    /// [`Error::Redis`] when the server cannot be reached.
    pub async fn blocking_connection(&self, longest: Duration) -> Result<MultiplexedConnection, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(longest + RESPONSE_TIMEOUT));
        Ok(self.client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Runs one command.
    ///
    /// # Errors
    /// [`Error::Redis`]; the command may have run when the connection broke.
    pub async fn query<T: FromRedisValue>(&self, command: &::redis::Cmd) -> Result<T, Error> {
        Ok(command.query_async(&mut self.connection()).await?)
    }

    /// Binds a library to this server and loads it.
    ///
    /// # Errors
    /// [`Error::Redis`], also when the source does not compile.
    pub async fn load(&self, library: Library) -> Result<Functions, Error> {
        let functions = Functions::new(self.clone(), library);
        functions.load().await?;
        Ok(functions)
    }
}

fn reconnecting() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_number_of_retries(RECONNECT_TRIES)
        .set_min_delay(RECONNECT_DELAY)
        .set_max_delay(RECONNECT_DELAY_MAX)
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RedisStore").field("address", &self.address).finish_non_exhaustive()
    }
}
