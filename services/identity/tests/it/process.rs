//! The daemon as a process of its own: TLS with its own certificate, and tokens that are verified.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nova_client::{Credential, Credentials, Endpoint, Endpoints, Mesh};
use nova_identity::authority::Authority;
use nova_proto::identity::v1::{AttestWorkloadRequest, GetBundleRequest};
use nova_runtime::credentials::IdentityDaemon;
use nova_runtime::{CredentialSource as _, Handoff};
use nova_types::{Clock as _, SpiffeId, SystemClock, Timestamp, TrustDomain};
use tonic::{Code, Status};

use crate::authority::csr;

const MINUTE: Duration = Duration::from_secs(60);

struct Process {
    child: Child,
    authority: Authority,
    endpoints: Endpoints,
    _dir: tempfile::TempDir,
}

impl Process {
    fn start() -> Self {
        nova_client::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let authority_dir = dir.path().join("authority");
        let authority = Authority::open_or_create(&authority_dir, &TrustDomain::default(), now()).unwrap();
        let address = free_address();
        let mut child = Command::new(env!("CARGO_BIN_EXE_nova-identity"))
            .args([
                "--set",
                &format!("runtime.listen={address}"),
                "--set",
                "runtime.telemetry.log_filter=warn",
            ])
            .args(["--set", &format!("runtime.data_dir={}", dir.path().join("data").display())])
            .args(["--set", &format!("identity.authority_dir={}", authority_dir.display())])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let endpoints =
            Endpoints { identity: Endpoint(format!("https://{address}")), ..Endpoints::default() };
        let handoff = Handoff {
            subject: "svc/identity".to_owned(),
            join_token: String::new(),
            trust_domain: TrustDomain::default(),
            bundle_pem: authority.bundle_pem(),
            jwks: authority.jwks(),
            endpoints: endpoints.clone(),
            otlp: None,
        };
        child.stdin.as_mut().unwrap().write_all(handoff.to_line().as_bytes()).unwrap();
        Self { child, authority, endpoints, _dir: dir }
    }

    fn mesh(&self, token: String) -> Mesh {
        let credentials = Credentials::joining(&self.authority.bundle_pem(), token).unwrap();
        Mesh::new(self.endpoints.clone(), credentials).unwrap()
    }

    fn join_token(&self, at: Timestamp) -> String {
        let id = SpiffeId::of(&TrustDomain::default(), "subject", "svc/queue").unwrap();
        self.authority.join_token(&id, at, MINUTE).unwrap().token
    }

    async fn attest(&self, token: String) -> Result<(), Status> {
        let request = AttestWorkloadRequest { csr: csr() };
        self.mesh(token).identity().attest_workload(request).await.map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn changed_in_its_signature(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let place = bytes.len() - 40;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_attests_itself_and_renews_over_tls() {
    let daemon = Process::start();
    let mesh = daemon.mesh(daemon.join_token(now()));
    let source = IdentityDaemon::new(mesh.clone()).unwrap();

    let first = source.issue().await.unwrap();
    let leaf = first.chain[0].clone();
    mesh.credentials().replace(first).unwrap();

    let second: Credential = source.issue().await.unwrap();
    assert_ne!(second.chain[0], leaf);
    mesh.credentials().replace(second).unwrap();
    let bundle = mesh.identity().get_bundle(GetBundleRequest {}).await.unwrap().into_inner();
    assert_eq!(bundle.x509_authorities, [daemon.authority.root_der().to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_used_expired_changed_or_foreign_is_refused() {
    let daemon = Process::start();
    let good = daemon.join_token(now());
    daemon.attest(good.clone()).await.unwrap();
    let used = daemon.attest(good.clone()).await.unwrap_err();
    assert_eq!(used.code(), Code::FailedPrecondition);

    let expired = daemon.join_token(now() - 2 * MINUTE);
    let changed = changed_in_its_signature(&good);
    let foreign = Process::start().join_token(now());
    for (what, token) in
        [("expired", expired), ("changed", changed), ("foreign", foreign), ("none", String::new())]
    {
        let refused = daemon.attest(token).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{what}: {refused:?}");
    }
}
