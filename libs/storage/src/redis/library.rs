//! Function libraries: named by their content, loaded when missing.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, ToRedisArgs};
use sha2::{Digest, Sha256};

use super::{Connection, RedisStore};
use crate::Error;

/// What stands in a source for the library's full name.
const PLACEHOLDER: &str = "@LIB@";
/// Bytes of the hash that the name carries.
const VERSION_BYTES: usize = 6;
/// How long a write waits for its replicas; less than the connection waits for an answer.
const REPLICATION: Duration = Duration::from_secs(2);

/// A Lua source and the name it is loaded under: `<name>_<hash of the source>`.
///
/// The source is written without the `#!lua` line. Names of functions are global to a server, so each
/// is registered as `@LIB@_<function>`; the placeholder becomes the full name.
#[derive(Debug, Clone)]
pub struct Library {
    full_name: String,
    code: String,
}

impl Library {
    /// Names the library. `name` may hold letters, digits and underscores.
    pub fn new(name: &str, source: &str) -> Self {
        let digest = Sha256::digest(source.as_bytes());
        let version: String = digest.iter().take(VERSION_BYTES).map(|byte| format!("{byte:02x}")).collect();
        let full_name = format!("{name}_{version}");
        let code = format!("#!lua name={full_name}\n{}", source.replace(PLACEHOLDER, &full_name));
        Self { full_name, code }
    }

    /// The name on the server, version included.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }
}

/// A library on a store.
#[derive(Debug, Clone)]
pub struct Functions {
    store: RedisStore,
    library: Arc<Library>,
}

impl Functions {
    pub(super) fn new(store: RedisStore, library: Library) -> Self {
        Self { store, library: Arc::new(library) }
    }

    /// The store it is on.
    pub fn store(&self) -> &RedisStore {
        &self.store
    }

    /// Calls `function` (its name in the source, without `@LIB@_`), loading the library if the server
    /// has lost it. All keys must share one hash tag.
    ///
    /// # Errors
    /// [`Error::Redis`]. When the connection broke the function may have run: repeat only what is
    /// idempotent.
    pub async fn call<T, K, A>(&self, function: &str, keys: &[K], args: &[A]) -> Result<T, Error>
    where
        T: FromRedisValue,
        K: ToRedisArgs,
        A: ToRedisArgs,
    {
        let (answer,) = self.run(::redis::pipe().add_command(self.command(function, keys, args))).await?;
        Ok(answer)
    }

    /// [`Functions::call`] of a function that writes: it is answered when as many replicas have the write as the
    /// store's URL says.
    ///
    /// # Errors
    /// [`Error::RedisUnreplicated`] when they do not have it in time: the primary has it all the same. Called
    /// again, a function that finds its work done answers when they have it.
    pub async fn write<T, K, A>(&self, function: &str, keys: &[K], args: &[A]) -> Result<T, Error>
    where
        T: FromRedisValue,
        K: ToRedisArgs,
        A: ToRedisArgs,
    {
        let wanted = self.store.replicas();
        if wanted == 0 {
            return self.call(function, keys, args).await;
        }
        // On one connection, since WAIT speaks of what its own connection was answered before.
        let mut both = ::redis::pipe();
        both.add_command(self.command(function, keys, args));
        both.cmd("WAIT").arg(wanted).arg(REPLICATION.as_millis());
        let (answer, found) = self.run(&both).await?;
        if found < wanted {
            return Err(Error::RedisUnreplicated { wanted, found });
        }
        Ok(answer)
    }

    /// Runs commands; loads the library when they find that the server lacks it, and runs them again.
    async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        let mut connection = self.connection(commands);
        match commands.query_async(&mut connection).await.map_err(first_of) {
            Err(error) if is_missing(&error) => {
                self.load().await?;
                Ok(commands.query_async(&mut connection).await.map_err(first_of)?)
            }
            answer => Ok(answer?),
        }
    }

    /// A write and its `WAIT` stay together.
    fn connection(&self, commands: &Pipeline) -> Connection {
        let connection = self.store.connection();
        if commands.len() > 1 { connection.undivided() } else { connection }
    }

    fn command<K: ToRedisArgs, A: ToRedisArgs>(&self, function: &str, keys: &[K], args: &[A]) -> Cmd {
        let mut command = ::redis::cmd("FCALL");
        command.arg(format!("{}_{function}", self.library.full_name)).arg(keys.len()).arg(keys).arg(args);
        command
    }

    /// Two instances may load at once: the second is told that the name is taken, by the same content.
    pub(super) async fn load(&self) -> Result<(), Error> {
        let mut command = ::redis::cmd("FUNCTION");
        command.arg("LOAD").arg(&self.library.code);
        match self.store.connection().send_to_all(&command).await {
            Err(error) if !says(&error, "already exists") => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The error of the first command of a pipeline that has one.
fn first_of(error: RedisError) -> RedisError {
    let errors = error.clone().into_server_errors();
    errors.and_then(|errors| Some(errors.first()?.1.clone().into())).unwrap_or(error)
}

fn is_missing(error: &RedisError) -> bool {
    says(error, "Function not found")
}

fn says(error: &RedisError, words: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(words))
}
