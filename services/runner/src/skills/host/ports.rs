//! `host.ports`: what listens on this host, and for whom.

use serde::Serialize;

use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Ports reported at most.
const MOST: usize = 512;

/// The listening ports of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortsFinding {
    /// By port, at most 512.
    pub ports: Vec<Port>,
    /// How many there are in all.
    pub found: usize,
    /// How many answer on every address of the host.
    pub open_to_all: usize,
    /// How many are this mesh's own.
    pub of_this_mesh: usize,
    /// False where the platform does not tell.
    pub supported: bool,
}

/// A listening port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// Number.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Address that it is bound to.
    pub address: String,
    /// True when it is bound to every address.
    pub open_to_all: bool,
    /// Id of the process that holds it; unset when it may not be looked at.
    pub pid: Option<i32>,
    /// Name of that process.
    pub process: Option<String>,
    /// True when it is a process of the mesh that this agent belongs to: the same executable in the same session.
    pub of_this_mesh: bool,
}

/// Serves `host.ports`.
pub fn run(_: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine()?)
}

/// Lists what listens.
pub fn examine() -> Result<PortsFinding, SkillError> {
    let Some(mut ports) = listening()? else {
        return Ok(PortsFinding::default());
    };
    ports.sort();
    ports.dedup();
    let open_to_all = ports.iter().filter(|port| port.open_to_all).count();
    let of_this_mesh = ports.iter().filter(|port| port.of_this_mesh).count();
    let found = ports.len();
    ports.truncate(MOST);
    Ok(PortsFinding { ports, found, open_to_all, of_this_mesh, supported: true })
}

#[cfg(not(target_os = "linux"))]
fn listening() -> Result<Option<Vec<Port>>, SkillError> {
    Ok(None)
}

#[cfg(target_os = "linux")]
fn listening() -> Result<Option<Vec<Port>>, SkillError> {
    linux::listening().map(Some)
}

#[cfg(target_os = "linux")]
mod linux {
    //! Joins the kernel's tables of sockets with the descriptors of every process.

    use std::collections::HashMap;
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use procfs::ProcError;
    use procfs::net::{TcpState, UdpState};
    use procfs::process::{FDTarget, Process};

    use super::{Port, SkillError};

    /// Processes looked at, at most.
    const PROCESSES: usize = 20_000;

    type Owners = HashMap<u64, Owner>;

    #[derive(Clone)]
    struct Owner {
        pid: i32,
        name: String,
        of_this_mesh: bool,
    }

    /// What the processes of a mesh have in common: what they execute, and the session that its supervisor made.
    type Kinship = (PathBuf, i32);

    pub(super) fn listening() -> Result<Vec<Port>, SkillError> {
        let owners = owners()?;
        let tcp = procfs::net::tcp()
            .map_err(unreadable)?
            .into_iter()
            .chain(procfs::net::tcp6().unwrap_or_default());
        let udp = procfs::net::udp()
            .map_err(unreadable)?
            .into_iter()
            .chain(procfs::net::udp6().unwrap_or_default());
        let tcp = tcp
            .filter(|entry| entry.state == TcpState::Listen)
            .map(|entry| port("tcp", entry.local_address, owners.get(&entry.inode)));
        let udp = udp
            .filter(|entry| entry.state == UdpState::Close && entry.remote_address.port() == 0)
            .map(|entry| port("udp", entry.local_address, owners.get(&entry.inode)));
        Ok(tcp.chain(udp).collect())
    }

    fn port(protocol: &'static str, address: SocketAddr, owner: Option<&Owner>) -> Port {
        Port {
            port: address.port(),
            protocol,
            address: address.ip().to_string(),
            open_to_all: address.ip().is_unspecified(),
            pid: owner.map(|owner| owner.pid),
            process: owner.map(|owner| owner.name.clone()),
            of_this_mesh: owner.is_some_and(|owner| owner.of_this_mesh),
        }
    }

    /// Who holds which socket, by inode; processes of others are passed over.
    fn owners() -> Result<Owners, SkillError> {
        let processes = procfs::process::all_processes().map_err(unreadable)?;
        let own = Process::myself().ok().and_then(|process| kinship(&process));
        let mut owners = Owners::new();
        for process in processes.take(PROCESSES).flatten() {
            note_sockets(&process, own.as_ref(), &mut owners);
        }
        Ok(owners)
    }

    fn note_sockets(process: &Process, own: Option<&Kinship>, owners: &mut Owners) {
        let Ok(descriptors) = process.fd() else { return };
        let mut owner = None;
        for descriptor in descriptors.flatten() {
            if let FDTarget::Socket(inode) = descriptor.target {
                let owner = owner.get_or_insert_with(|| Owner::of(process, own));
                owners.insert(inode, owner.clone());
            }
        }
    }

    impl Owner {
        fn of(process: &Process, own: Option<&Kinship>) -> Self {
            let name = process.stat().map(|stat| stat.comm).unwrap_or_default();
            let of_this_mesh = own.is_some() && kinship(process).as_ref() == own;
            Self { pid: process.pid(), name, of_this_mesh }
        }
    }

    fn kinship(process: &Process) -> Option<Kinship> {
        Some((process.exe().ok()?, process.stat().ok()?.session))
    }

    fn unreadable(error: ProcError) -> SkillError {
        SkillError::Host { what: "/proc".to_owned(), source: std::io::Error::other(error.to_string()) }
    }
}

impl Finding for PortsFinding {
    fn summary(&self) -> String {
        if !self.supported {
            return "listening ports cannot be listed on this platform".to_owned();
        }
        let open = self.ports.iter().filter(|port| port.open_to_all).map(|port| {
            format!(
                "{}/{} {}",
                port.port,
                port.protocol,
                port.process.as_deref().unwrap_or("unknown process")
            )
        });
        format!(
            "{} ({} of this mesh), of them {} open on every address: {}",
            text::count(self.found as u64, "listening port"),
            self.of_this_mesh,
            self.open_to_all,
            text::list(open, 10),
        )
    }

    fn importance(&self) -> f64 {
        if self.open_to_all > 0 { 0.7 } else { 0.5 }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn found(protocol: &str, number: u16) -> Port {
        let finding = examine().unwrap();
        finding.ports.into_iter().find(|port| port.port == number && port.protocol == protocol).unwrap()
    }

    #[test]
    fn listener_is_found_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = found("tcp", listener.local_addr().unwrap().port());
        assert_eq!((port.pid, port.open_to_all), (Some(std::process::id() as i32), false));
        assert!(port.of_this_mesh, "this process is one of its own mesh");
    }

    #[test]
    fn port_on_every_address_is_noted() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert!(found("udp", socket.local_addr().unwrap().port()).open_to_all);
    }
}
