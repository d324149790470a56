//! One client for each service of the mesh.

use nova_proto::identity::v1::identity_service_client::IdentityServiceClient;
use nova_proto::lifecycle::v1::agent_service_client::AgentServiceClient;
use nova_proto::lifecycle::v1::session_service_client::SessionServiceClient;
use nova_proto::lifecycle::v1::workflow_service_client::WorkflowServiceClient;
use nova_proto::memory::v1::memory_service_client::MemoryServiceClient;
use nova_proto::node::v1::node_service_client::NodeServiceClient;
use nova_proto::policy::v1::policy_service_client::PolicyServiceClient;
use nova_proto::queue::v1::queue_service_client::QueueServiceClient;

use crate::lease::HeldLease;
use crate::{Channel, Credentials, Endpoints};

/// Largest message that a client takes, in bytes.
const LARGEST_MESSAGE: usize = 64 << 20;

/// Clients of every daemon. Cheap to clone; connects when a daemon is first called.
#[derive(Clone, Debug)]
pub struct Mesh {
    endpoints: Endpoints,
    credentials: Credentials,
    queue: Channel,
    lifecycle: Channel,
    policy: Channel,
    identity: Channel,
    node: Channel,
}

macro_rules! client {
    ($(#[$doc:meta])* $method:ident, $channel:ident, $client:ident) => {
        $(#[$doc])*
        pub fn $method(&self) -> $client<Channel> {
            $client::new(self.$channel.clone()).max_decoding_message_size(LARGEST_MESSAGE)
        }
    };
}

impl Mesh {
    /// Clients of the daemons at `endpoints`. Fails when one of them is no URL.
    pub fn new(endpoints: Endpoints, credentials: Credentials) -> Result<Self, tonic::transport::Error> {
        let channel = |daemon, endpoint| Channel::new(daemon, endpoint, credentials.clone());
        Ok(Self {
            queue: channel("queue", &endpoints.queue)?,
            lifecycle: channel("lifecycle", &endpoints.lifecycle)?,
            policy: channel("policy", &endpoints.policy)?,
            identity: channel("identity", &endpoints.identity)?,
            node: channel("node", &endpoints.node)?,
            endpoints,
            credentials,
        })
    }

    /// The same clients, whose calls are made under a lease: the daemons refuse them with LEASE_LOST once it is lost.
    ///
    /// The proof that they show is asked of the queue with the first call, and renewed as long as calls are made; a
    /// lease that nothing is called under costs nothing.
    #[must_use]
    pub fn under_lease(&self, namespace: &str, task_id: &str, token: u64) -> Self {
        let queue = QueueServiceClient::new(self.queue.under(None));
        let lease = HeldLease::new(queue, namespace.to_owned(), task_id.to_owned(), token);
        let under = |channel: &Channel| channel.under(Some(lease.clone()));
        Self {
            endpoints: self.endpoints.clone(),
            credentials: self.credentials.clone(),
            queue: under(&self.queue),
            lifecycle: under(&self.lifecycle),
            policy: under(&self.policy),
            identity: under(&self.identity),
            node: under(&self.node),
        }
    }

    client!(
        /// Tasks and leases.
        queue, queue, QueueServiceClient
    );
    client!(
        /// Agents and their states.
        agents, lifecycle, AgentServiceClient
    );
    client!(
        /// Sessions of agents.
        sessions, lifecycle, SessionServiceClient
    );
    client!(
        /// Runs of plans.
        workflows, lifecycle, WorkflowServiceClient
    );
    client!(
        /// Policies and decisions.
        policy, policy, PolicyServiceClient
    );
    client!(
        /// Certificates, tokens and the register of agents.
        identity, identity, IdentityServiceClient
    );
    client!(
        /// Memories.
        memory, identity, MemoryServiceClient
    );
    client!(
        /// The host and its processes.
        node, node, NodeServiceClient
    );

    /// Where the daemons are.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The credentials that calls are made with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The channel to a daemon, for standard services such as health.
    pub fn channel(&self, daemon: &str) -> Option<Channel> {
        match daemon {
            "queue" => Some(self.queue.clone()),
            "lifecycle" => Some(self.lifecycle.clone()),
            "policy" => Some(self.policy.clone()),
            "identity" => Some(self.identity.clone()),
            "node" => Some(self.node.clone()),
            _ => None,
        }
    }
}
