//! How a command reaches a mesh: the one that runs, or one brought up for as long as it reads.

use std::fs;

use anyhow::Context as _;
use nova_client::{Credential, Credentials, Mesh};

use crate::cli::Context;
use crate::failure::NoMesh;
use crate::home::{Home, MeshFile};
use crate::supervisor::{Launch, Launched};

/// Clients of the mesh in `home`, with the operator's certificate.
pub(crate) fn connect(home: &Home) -> anyhow::Result<Mesh> {
    let mesh = home.running()?.ok_or_else(|| NoMesh::in_home(home))?;
    connect_to(home, &mesh)
}

/// The same for a mesh that is known.
pub(crate) fn connect_to(home: &Home, mesh: &MeshFile) -> anyhow::Result<Mesh> {
    nova_client::install_crypto_provider();
    Ok(Mesh::new(mesh.endpoints.clone(), Credentials::new(operator(home)?)?)?)
}

/// Does what only reads. Records outlive their mesh: when none runs, one is brought up for
/// as long as `read` takes.
pub(crate) async fn reading<T>(
    context: &Context,
    read: impl AsyncFnOnce(Mesh) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let reached = reach(context).await?;
    let outcome = read(reached.mesh.clone()).await;
    reached.leave().await?;
    outcome
}

/// A mesh that a reading command has reached.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Its clients.
    pub(crate) mesh: Mesh,
    launched: Option<Launched>,
}

impl Reached {
    /// Takes the mesh down, if it was brought up to be read.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        match self.launched {
            Some(launched) => launched.stop().await,
            None => Ok(()),
        }
    }
}

/// The mesh that runs, or one brought up to be read.
pub(crate) async fn reach(context: &Context) -> anyhow::Result<Reached> {
    let home = &context.home;
    if let Some(mesh) = home.running()? {
        return Ok(Reached { mesh: connect_to(home, &mesh)?, launched: None });
    }
    let launch = Launch { home: home.clone(), store: "sqlite".to_owned(), otlp: None, for_one_run: true };
    let launched = launch.start().await?;
    let mesh = connect_to(home, &launched.mesh_file)?;
    Ok(Reached { mesh, launched: Some(launched) })
}

fn operator(home: &Home) -> anyhow::Result<Credential> {
    let read = |part| {
        let path = home.operator(part);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(Credential::from_pem(&read("chain")?, &read("key")?, &read("bundle")?)?)
}
