//! How a command reaches a mesh: the one that runs, or one brought up for as long as it reads.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use nova_client::{Credential, Credentials, Mesh};
use nova_runtime::StoreUrl;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::Context;
use crate::failure::{Misuse, NoMesh};
use crate::home::{Home, Lock, MeshFile};
use crate::supervisor::{Launch, Launched};

/// How long to wait for another command to be done with its mesh.
const TURN: Duration = Duration::from_secs(5);
/// How long to wait for meshes that come up and go down: each has bounds of its own.
const PASSAGE: Duration = Duration::from_secs(120);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of a mesh that is never ready for us.
const PASSES: &str = "the mesh that runs here is not ready: it comes up or goes down; `nova status` shows it";
/// Of a mesh that a run brought up.
const GOES_DOWN: &str =
    "the mesh that runs here goes down with its run; wait for that, or use another --home";
/// When to say that a mesh is being brought up.
const SILENCE: Duration = Duration::from_secs(2);

/// Clients of the mesh in `home`, with the token in `NOVA_TOKEN`, else the operator's certificate. Waits for one that
/// comes up or goes down.
pub(crate) async fn connect(home: &Home) -> anyhow::Result<Mesh> {
    let give_up = Instant::now() + PASSAGE;
    loop {
        match home.running()? {
            None => return Err(NoMesh::in_home(home).into()),
            Some(mesh) if mesh.is_ready() => return connect_to(home, &mesh),
            Some(_) if Instant::now() > give_up => return Err(NoMesh::because(PASSES.to_owned()).into()),
            Some(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// The same for a mesh that is known.
pub(crate) fn connect_to(home: &Home, mesh: &MeshFile) -> anyhow::Result<Mesh> {
    nova_client::install_crypto_provider();
    Ok(Mesh::new(mesh.endpoints.clone(), Credentials::new(credential(home)?)?)?)
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
    #[expect(
        dead_code,
        reason = "a mesh that somebody else takes down stays up for as long as this is held"
    )]
    lock: Option<Lock>,
    #[expect(dead_code, reason = "the folder is there for as long as this is held")]
    passing: Option<TempDir>,
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

/// The store of a mesh that is to be brought up: the one that is `wanted`, else the last that was
/// used in this home, since runs and records are there. Says so when that is not the common one and no mesh runs.
pub(crate) fn choose_store(home: &Home, wanted: Option<String>) -> anyhow::Result<String> {
    let running = home.running()?.map(|mesh| mesh.store);
    let alone = running.is_none();
    let store = wanted.or(running).unwrap_or_else(|| home.last_store());
    if alone && store != "sqlite" {
        tell!("nova: the store is {}", StoreUrl::shown(&store));
    }
    Ok(store)
}

/// A mesh that runs is not changed: whoever wants another store or collector, or a port without TLS, must not believe
/// to have it.
pub(crate) fn suits(
    mesh: &MeshFile,
    store: Option<&str>,
    otlp: Option<&str>,
    plaintext: bool,
) -> anyhow::Result<()> {
    let other = if store.is_some_and(|store| store != mesh.store) {
        format!("keeps its state in {}", StoreUrl::shown(&mesh.store))
    } else if otlp.is_some() && otlp != mesh.otlp.as_deref() {
        format!("sends its traces to {}", mesh.otlp.as_deref().unwrap_or("no other collector"))
    } else if plaintext && mesh.plaintext.is_none() {
        "listens with TLS only".to_owned()
    } else {
        return Ok(());
    };
    Err(Misuse::of(format!("the mesh that runs here {other}; `nova down` ends it")))
}

/// The mesh that runs, or one brought up to be read, with the store that the last one had. Whoever only reads leaves no
/// home where there was none: it is then in a folder that passes.
pub(crate) async fn reach(context: &Context) -> anyhow::Result<Reached> {
    let passing = if context.home.exists() { None } else { Some(tempfile::tempdir()?) };
    let home = match &passing {
        Some(folder) => Home::at(Some(folder.path().to_owned()))?,
        None => context.home.clone(),
    };
    let store = home.last_store();
    let shown = StoreUrl::shown(&store);
    let launch =
        Launch { home: home.clone(), store, otlp: None, plaintext: false, for_one_run: true, reading: true };
    let mut found = Box::pin(find_to_read(launch));
    let (found, lock) = match timeout(SILENCE, &mut found).await {
        Ok(found) => found?,
        Err(_) => {
            tell!("nova: no mesh runs; one is brought up to read the records in {shown}");
            found.await?
        }
    };
    let mesh = connect_to(&home, found.file())?;
    Ok(Reached { mesh, launched: found.launched(), lock, passing })
}

/// A mesh to read from, which stays up for as long as the lock is held: its own, or one that runs, since it was still
/// ready when it was locked.
async fn find_to_read(launch: Launch) -> anyhow::Result<(Found, Option<Lock>)> {
    loop {
        let found = find(launch.clone(), |_| true).await?;
        if matches!(found, Found::Launched(_)) {
            return Ok((found, None));
        }
        let lock = launch.home.lock_to_read()?;
        let still = launch.home.running()?.filter(MeshFile::is_ready).map(|mesh| mesh.pid);
        if lock.is_some() && still == Some(found.file().pid) {
            return Ok((found, lock));
        }
    }
}

/// A mesh that was there, or was brought up.
#[derive(Debug)]
pub(crate) enum Found {
    Running(Box<MeshFile>),
    Launched(Box<Launched>),
}

impl Found {
    /// Where the mesh is.
    pub(crate) fn file(&self) -> &MeshFile {
        match self {
            Self::Running(file) => file,
            Self::Launched(launched) => &launched.mesh_file,
        }
    }

    /// What was brought up.
    pub(crate) fn launched(self) -> Option<Launched> {
        match self {
            Self::Running(_) => None,
            Self::Launched(launched) => Some(*launched),
        }
    }
}

/// Finds the mesh that runs, if it `suits`, or launches one. Another command may be bringing one
/// up or taking one down at this moment: waits for its turn.
pub(crate) async fn find(launch: Launch, suits: impl Fn(&MeshFile) -> bool) -> anyhow::Result<Found> {
    let give_up = Instant::now() + PASSAGE;
    let mut turn = Instant::now() + TURN;
    loop {
        let others_is_ready = match launch.home.running()? {
            Some(file) if file.is_ready() && suits(&file) => return Ok(Found::Running(Box::new(file))),
            Some(file) => file.is_ready(),
            None => match launch.clone().start().await? {
                Some(launched) => return Ok(Found::Launched(Box::new(launched))),
                None => false,
            },
        };
        let now = Instant::now();
        if others_is_ready && now > turn {
            return Err(NoMesh::because(GOES_DOWN.to_owned()).into());
        }
        if now > give_up {
            return Err(NoMesh::because(PASSES.to_owned()).into());
        }
        if !others_is_ready {
            turn = now + TURN;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Who calls: whoever the token in `NOVA_TOKEN` is for, else the operator.
fn credential(home: &Home) -> anyhow::Result<Credential> {
    let operator = operator(home)?;
    let token = std::env::var("NOVA_TOKEN").unwrap_or_default();
    let token = Some(token.trim().to_owned()).filter(|token| !token.is_empty());
    Ok(if token.is_some() { Credential::bearer(operator.roots, token) } else { operator })
}

fn operator(home: &Home) -> anyhow::Result<Credential> {
    let read = |part| {
        let path = home.operator(part);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(Credential::from_pem(&read("chain")?, &read("key")?, &read("bundle")?)?)
}
