//! A wire that can be cut, and put into another socket.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

/// Passes connections on to a port of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// A proxy to `target`. Its thread ends with the process.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, target: Arc::new(target.into()), open: Arc::default() };
        let serving = proxy.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                serving.pass(near.unwrap());
            }
        });
        proxy
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Passes new connections on to another port, and cuts those that are open.
    pub(crate) fn point_at(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        self.cut();
    }

    /// Cuts every connection wherever it is.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // A connection may have ended by itself.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    fn pass(&self, near: TcpStream) {
        let target = self.target.load(Ordering::SeqCst);
        // Nobody there: the near end is closed.
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let ends = [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())];
        self.open.lock().unwrap().extend([near, far]);
        for (from, to) in ends {
            let (from, to) = (from.unwrap(), to.unwrap());
            thread::spawn(move || copy(from, to));
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16_384];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other end may be closed already.
    to.shutdown(Shutdown::Both).ok();
}
