//! Two daemons over one Redis: one is killed, or stopped for longer than its claim, under load.

use nova_testkit::redis::RedisServer;
use tempfile::TempDir;

use crate::{
    daemon::Daemon,
    load::{Load, longer},
};

/// Calls that are answered between two blows.
const CALLS: usize = 60;

struct Two {
    _redis: RedisServer,
    _folder: TempDir,
    daemons: [Daemon; 2],
}

impl Two {
    fn start() -> Self {
        let (redis, folder) = (RedisServer::start(), TempDir::new().unwrap());
        let daemons = ["a", "b"].map(|name| Daemon::start(&folder.path().join(name), &redis.url()));
        Self { _redis: redis, _folder: folder, daemons }
    }

    fn addresses(&self) -> [String; 2] {
        [self.daemons[0].address(), self.daemons[1].address()]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_daemons_is_killed_and_the_other_goes_on() {
    let mut two = Two::start();
    let load = Load::start(4, two.addresses());
    for round in 0..4 * longer() {
        load.get_on(CALLS).await;
        two.daemons[round % 2].kill();
        // Nobody calls a daemon that is gone; the one that is left must take over.
        load.targets.set([two.daemons[(round + 1) % 2].address()]);
        load.store_anew().await;
        load.recover().await;
        two.daemons[round % 2].restart();
        load.targets.set(two.addresses());
    }
    load.get_on(CALLS).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_beyond_its_claim_can_write_no_more() {
    let two = Two::start();
    let load = Load::start(5, two.addresses());
    // The first leads; what callers send while it is stopped waits in its sockets until it goes on.
    for round in 0..longer() {
        load.get_on(CALLS).await;
        two.daemons[round % 2].stop();
        load.store_anew().await;
        load.recover().await;
        load.get_on(CALLS / 4).await;
        two.daemons[round % 2].go_on();
        load.store_anew().await;
        load.recover().await;
    }
    load.get_on(CALLS).await;
    load.check().await;
}
