//! A daemon has so many connections and no more, whoever makes them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nova_runtime::testing::TestServer;
use nova_testkit::eventually;

use crate::deadline::SlowDaemon;

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_closed_until_another_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let builder = TestServer::builder(folder.path()).max_connections(2);
    let server = builder.start::<SlowDaemon>(()).await.unwrap();
    let address = server.address;
    tokio::task::spawn_blocking(move || {
        let (first, _second) = (greeted(address).unwrap(), greeted(address).unwrap());
        assert!(greeted(address).is_none(), "there is no third place");
        drop(first);
        eventually("a place is free again", PATIENCE, || greeted(address));
    })
    .await
    .unwrap();
}

/// A connection on which the daemon speaks first, as HTTP/2 has it once it was spoken to; none when it is closed.
fn greeted(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    // It may be closed before this is said.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").ok()?;
    match stream.read(&mut [0; 9]) {
        Ok(1..) => Some(stream),
        Ok(0) => None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("neither greeted nor closed: {error}"),
    }
}
