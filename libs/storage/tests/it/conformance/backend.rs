//! The engines, each started for one test.

use std::sync::Arc;

use async_trait::async_trait;
use nova_storage::{RedisKv, SqliteKv};
use nova_testkit::redis::{RedisServer, shared_cluster, shared_sentinel};
use tempfile::TempDir;

use super::Store;

/// An engine that holds one store. Each `open` is a handle of its own.
#[async_trait]
pub(super) trait Backend: Send + Sync {
    async fn open(&self) -> Store;
}

pub(super) struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub(super) fn start() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&self) -> Store {
        Arc::new(SqliteKv::open(&self.folder.path().join("kv.db")).unwrap())
    }
}

pub(super) struct Redis {
    server: RedisServer,
}

impl Redis {
    pub(super) fn start() -> Self {
        Self { server: RedisServer::start() }
    }
}

#[async_trait]
impl Backend for Redis {
    async fn open(&self) -> Store {
        Arc::new(RedisKv::connect(&self.server.url().parse().unwrap(), "test").await.unwrap())
    }
}

/// A store of its own name in a Redis that all tests share.
pub(super) struct SharedRedis {
    url: String,
    name: String,
}

impl SharedRedis {
    pub(super) fn cluster() -> Self {
        Self::at(shared_cluster().url())
    }

    pub(super) fn sentinel() -> Self {
        Self::at(shared_sentinel().url())
    }

    fn at(url: String) -> Self {
        Self { url, name: uuid::Uuid::new_v4().to_string() }
    }
}

#[async_trait]
impl Backend for SharedRedis {
    async fn open(&self) -> Store {
        Arc::new(RedisKv::connect(&self.url.parse().unwrap(), &self.name).await.unwrap())
    }
}
