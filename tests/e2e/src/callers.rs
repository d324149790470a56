//! Callers of every kind, for one mesh: who shows nothing, who may nothing, who may everything.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nova_client::{Endpoints, Mesh};
use nova_identity::authority::Authority;
use nova_testkit::{Nova, eventually};
use nova_types::{Clock as _, SpiffeId, SystemClock, Timestamp, TrustDomain};
use tokio::runtime::Runtime;

const HOUR: Duration = Duration::from_secs(3_600);
/// A role to which the policy gives nothing.
const NOBODY: &str = "nobody";
/// Roles that together may call every RPC, whatever a daemon asks beside policy.
const EVERYBODY: &[&str] = &["admin", "operator", "joining", "agent", "worker", "daemon"];

/// A mesh that runs, and its authority.
#[derive(Debug)]
pub struct Callers {
    nova: Nova,
    authority: Authority,
    runtime: Runtime,
}

impl Callers {
    /// Brings a mesh up.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn of_a_new_mesh() -> Self {
        Self::of_a_mesh(&[])
    }

    /// Brings a mesh up with these arguments of `nova up`.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn of_a_mesh(arguments: &[&str]) -> Self {
        let nova = Nova::new();
        nova.run(&[&["up"], arguments].concat()).ok();
        let authority = authority(&nova.home().join("authority"));
        let runtime = Runtime::new().expect("a runtime for the calls");
        Self { nova, authority, runtime }
    }

    /// The home, and its commands.
    pub fn nova(&self) -> &Nova {
        &self.nova
    }

    /// Makes calls, and waits for them.
    pub fn block_on<T>(&self, calls: impl Future<Output = T>) -> T {
        self.runtime.block_on(calls)
    }

    /// Calls with the operator's certificate.
    pub fn operator(&self) -> Mesh {
        let _entered = self.runtime.enter();
        self.nova.mesh()
    }

    /// Shows neither certificate nor token.
    pub fn anonymous(&self) -> Mesh {
        self.bearer(None)
    }

    /// Is known, but policy lets it do nothing.
    pub fn nobody(&self) -> Mesh {
        self.with_roles(&[NOBODY])
    }

    /// Has these roles.
    pub fn with_roles(&self, roles: &[&str]) -> Mesh {
        self.bearer(Some(token(&self.authority, roles, SystemClock.now())))
    }

    /// Shows a token that names the mesh's operator, and gives it next to nothing.
    pub fn impostor(&self) -> Mesh {
        let now = SystemClock.now();
        self.bearer(Some(token_of("user/operator", &self.authority, &["viewer"], now)))
    }

    /// May call everything.
    pub fn everybody(&self) -> Mesh {
        self.with_roles(EVERYBODY)
    }

    /// Shows a token that was good.
    pub fn expired(&self) -> Mesh {
        let yesterday = Timestamp::from_micros(SystemClock.now().micros() - 24 * 3_600 * 1_000_000);
        self.bearer(Some(token(&self.authority, EVERYBODY, yesterday)))
    }

    /// Shows a token for everything, signed by an authority of its own.
    ///
    /// # Panics
    /// When a folder for that authority cannot be made.
    pub fn forger(&self) -> Mesh {
        let folder = tempfile::tempdir().expect("a folder for the forger");
        self.bearer(Some(token(&authority(folder.path()), EVERYBODY, SystemClock.now())))
    }

    /// Shows this as its bearer token.
    ///
    /// # Panics
    /// When the mesh is gone.
    pub fn bearer(&self, token: Option<String>) -> Mesh {
        self.bearer_at(token, self.nova.endpoints())
    }

    /// Shows this as its bearer token to the daemons at these endpoints.
    ///
    /// # Panics
    /// When the mesh is gone.
    pub fn bearer_at(&self, token: Option<String>, endpoints: Endpoints) -> Mesh {
        let _entered = self.runtime.enter();
        self.nova.bearer(token, endpoints)
    }

    /// A worker of this name with these roles, who reaches the daemons at these endpoints.
    ///
    /// # Panics
    /// When the mesh is gone.
    pub fn worker(&self, name: &str, roles: &[&str], endpoints: Endpoints) -> Mesh {
        self.bearer_at(Some(self.worker_token(name, roles)), endpoints)
    }

    /// The token of a worker of this name with these roles.
    pub fn worker_token(&self, name: &str, roles: &[&str]) -> String {
        token_of(&format!("worker/{name}"), &self.authority, roles, SystemClock.now())
    }

    /// The mesh's roots, as PEM.
    ///
    /// # Panics
    /// When no mesh ran.
    pub fn roots(&self) -> String {
        let path = self.nova.home().join("operator/bundle.pem");
        std::fs::read_to_string(path).expect("a mesh ran here")
    }

    /// Where the daemons are.
    pub fn endpoints(&self) -> Endpoints {
        self.nova.endpoints()
    }

    /// Where they listen without TLS, in a mesh that was brought up with `--plaintext`.
    pub fn plaintext_endpoints(&self) -> Endpoints {
        self.nova.plaintext_endpoints()
    }

    /// Process ids by daemon.
    ///
    /// # Panics
    /// When the mesh is gone.
    pub fn pids(&self) -> BTreeMap<String, u64> {
        let file = self.nova.mesh_file().expect("a mesh runs");
        let pids = file["pids"].as_object().expect("pids by daemon");
        pids.iter().map(|(daemon, pid)| (daemon.clone(), pid.as_u64().expect("a number"))).collect()
    }

    /// Asserts that every daemon is ready, and the same process as `before`.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn assert_unharmed(&self, before: &BTreeMap<String, u64>) {
        eventually("every daemon is ready", Duration::from_secs(60), || self.is_ready().then_some(()));
        assert_eq!(
            &self.pids(),
            before,
            "a daemon died and was started again; its log is in {:?}",
            self.logs()
        );
    }

    fn is_ready(&self) -> bool {
        let ran = self.nova.run(&["status", "--json"]);
        ran.code == 0
    }

    fn logs(&self) -> std::path::PathBuf {
        self.nova.home().join("logs")
    }
}

fn authority(folder: &Path) -> Authority {
    nova_client::install_crypto_provider();
    let authority = Authority::open_or_create(folder, &TrustDomain::default(), SystemClock.now());
    authority.expect("an authority in a folder")
}

fn token(authority: &Authority, roles: &[&str], now: Timestamp) -> String {
    token_of("user/somebody", authority, roles, now)
}

fn token_of(subject: &str, authority: &Authority, roles: &[&str], now: Timestamp) -> String {
    let subject = SpiffeId::of(&TrustDomain::default(), "subject", subject).expect("it is a SPIFFE id");
    let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
    authority.bearer_token(&subject, &roles, now, HOUR).expect("the authority signs").token
}
