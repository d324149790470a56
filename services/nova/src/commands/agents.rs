//! `nova agents`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::lifecycle::v1::{
    Agent, AgentState, AgentTransition, GetAgentRequest, ListAgentTransitionsRequest, ListAgentsRequest,
    SetAgentStateRequest, StateDetails,
};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::namespace::Namespace;
use crate::commands::pages::Limit;
use crate::commands::{cells, output};
use crate::connection;

const PREFIX: &str = "AGENT_STATE_";
const STATES: [&str; 8] =
    ["registered", "starting", "idle", "active", "draining", "retired", "error", "unreachable"];

/// Show agents and their history.
#[derive(Debug, Args)]
pub(crate) struct Agents {
    #[command(flatten)]
    namespace: Namespace,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(flatten)]
    Read(Reading),
    /// Move an agent to a state; a move that the state machine forbids is refused.
    SetState {
        /// Id of the agent.
        agent: String,
        /// The next state.
        #[arg(value_parser = STATES)]
        state: String,
        /// Why, for the history.
        #[arg(long, default_value = "")]
        message: String,
    },
}

/// What changes nothing, and needs no mesh that runs.
#[derive(Debug, Subcommand)]
enum Reading {
    /// List agents by id.
    Ls {
        /// Only agents in this state.
        #[arg(long, value_parser = STATES)]
        state: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one agent and its last moves.
    Show {
        /// Id of the agent.
        agent: String,
    },
    /// Show an agent's moves, newest first.
    History {
        /// Id of the agent.
        agent: String,
        #[command(flatten)]
        limit: Limit,
    },
}

impl Agents {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let namespace = self.namespace.as_str();
        match self.action {
            Action::Read(reading) => {
                connection::reading(context, async |mesh| {
                    reading.run(context, &Registry { mesh: &mesh, namespace }).await
                })
                .await?;
            }
            Action::SetState { agent, state, message } => {
                let mesh = connection::connect(&context.home).await?;
                let registry = Registry { mesh: &mesh, namespace };
                set_state(context, &registry, agent, &state, message).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The agents of a namespace.
#[derive(Debug)]
struct Registry<'a> {
    mesh: &'a Mesh,
    namespace: &'a str,
}

impl Registry<'_> {
    /// The namespace, for a request.
    fn namespace(&self) -> String {
        self.namespace.to_owned()
    }
}

impl Reading {
    async fn run(self, context: &Context, registry: &Registry<'_>) -> anyhow::Result<()> {
        match self {
            Self::Ls { state, limit } => list(context, registry, state.as_deref(), limit).await,
            Self::History { agent, limit } => history(context, registry, &agent, limit).await,
            Self::Show { agent } => show(context, registry, &agent).await,
        }
    }
}

async fn list(
    context: &Context,
    registry: &Registry<'_>,
    state: Option<&str>,
    limit: Limit,
) -> anyhow::Result<()> {
    let state = i32::from(state.map_or(AgentState::Unspecified, state_of));
    let page = async |page_size, page_token| {
        let namespace = registry.namespace();
        let request = ListAgentsRequest { namespace, state, page_size, page_token };
        let page = registry.mesh.agents().list_agents(request).await?.into_inner();
        Ok((page.agents, page.next_page_token))
    };
    let agents = limit.gather(page).await?;
    let rows = agents.iter().map(|agent| {
        let heard = cells::relative(agent.heartbeat_time.as_ref());
        [agent.id.clone(), agent.role.clone(), state_name(agent.state()), heard, agent.capabilities.join(" ")]
    });
    let records: Vec<Value> = agents.iter().map(record).collect();
    output::rows(context, ["AGENT", "ROLE", "STATE", "HEARTBEAT", "CAPABILITIES"], rows.collect(), &records)
}

async fn show(context: &Context, registry: &Registry<'_>, id: &str) -> anyhow::Result<()> {
    let agent = get(registry, id).await?;
    let moves = transitions(registry, id, Limit::of(1_000)).await?;
    if context.json {
        let mut record = record(&agent);
        record["transitions"] = moves.iter().map(transition_record).collect();
        return output::json(&record);
    }
    show_agent(context, &agent)?;
    output::line("")?;
    transition_table(context, &moves)
}

async fn history(context: &Context, registry: &Registry<'_>, id: &str, limit: Limit) -> anyhow::Result<()> {
    transition_table(context, &transitions(registry, id, limit).await?)
}

async fn set_state(
    context: &Context,
    registry: &Registry<'_>,
    agent_id: String,
    state: &str,
    message: String,
) -> anyhow::Result<()> {
    let details = (!message.is_empty()).then(|| StateDetails { message, ..Default::default() });
    let state = state_of(state).into();
    let namespace = registry.namespace();
    let request = SetAgentStateRequest { namespace, agent_id, state, details, ..Default::default() };
    let answer = registry.mesh.agents().set_agent_state(request).await?.into_inner();
    show_agent(context, &answer.agent.unwrap_or_default())
}

async fn get(registry: &Registry<'_>, id: &str) -> anyhow::Result<Agent> {
    let request = GetAgentRequest { namespace: registry.namespace(), agent_id: id.to_owned() };
    Ok(registry.mesh.agents().get_agent(request).await?.into_inner().agent.unwrap_or_default())
}

async fn transitions(
    registry: &Registry<'_>,
    id: &str,
    limit: Limit,
) -> anyhow::Result<Vec<AgentTransition>> {
    let page = async |page_size, page_token| {
        let (namespace, agent_id) = (registry.namespace(), id.to_owned());
        let request = ListAgentTransitionsRequest { namespace, agent_id, page_size, page_token };
        let page = registry.mesh.agents().list_agent_transitions(request).await?.into_inner();
        Ok((page.transitions, page.next_page_token))
    };
    limit.gather(page).await
}

fn show_agent(context: &Context, agent: &Agent) -> anyhow::Result<()> {
    let details = agent.details.clone().unwrap_or_default();
    let fields = [
        ("agent", agent.id.clone()),
        ("state", state_name(agent.state())),
        ("message", details.message),
        ("error code", details.error_code),
        ("role", agent.role.clone()),
        ("capabilities", agent.capabilities.join(" ")),
        ("framework", format!("{} {}", agent.framework, agent.version).trim().to_owned()),
        ("identity", agent.spiffe_id.clone()),
        ("labels", cells::labels(&agent.metadata)),
        ("heartbeat", cells::moment(agent.heartbeat_time.as_ref())),
        ("registered", cells::moment(agent.create_time.as_ref())),
        ("changed", cells::moment(agent.update_time.as_ref())),
    ];
    output::fields(context, &fields, &record(agent))
}

fn transition_table(context: &Context, moves: &[AgentTransition]) -> anyhow::Result<()> {
    let rows = moves.iter().map(|made| {
        [
            cells::moment(made.time.as_ref()),
            origin(made).unwrap_or_default(),
            state_name(made.to()),
            made.actor.clone(),
            made.details.clone().unwrap_or_default().message,
            made.trace_id.clone(),
        ]
    });
    let records: Vec<Value> = moves.iter().map(transition_record).collect();
    output::rows(context, ["TIME", "FROM", "TO", "BY", "MESSAGE", "TRACE"], rows.collect(), &records)
}

fn record(agent: &Agent) -> Value {
    let details = agent.details.clone().unwrap_or_default();
    json!({
        "id": agent.id,
        "role": agent.role,
        "state": state_name(agent.state()),
        "error_code": details.error_code,
        "message": details.message,
        "capabilities": agent.capabilities,
        "version": agent.version,
        "framework": agent.framework,
        "metadata": agent.metadata,
        "spiffe_id": agent.spiffe_id,
        "etag": agent.etag,
        "create_time": cells::rfc3339(agent.create_time.as_ref()),
        "update_time": cells::rfc3339(agent.update_time.as_ref()),
        "heartbeat_time": cells::rfc3339(agent.heartbeat_time.as_ref()),
    })
}

fn transition_record(made: &AgentTransition) -> Value {
    let details = made.details.clone().unwrap_or_default();
    json!({
        "time": cells::rfc3339(made.time.as_ref()),
        "from": origin(made),
        "to": state_name(made.to()),
        "actor": made.actor,
        "error_code": details.error_code,
        "message": details.message,
        "trace_id": made.trace_id,
    })
}

/// The state that a move began in; the first began in none.
fn origin(made: &AgentTransition) -> Option<String> {
    (made.from() != AgentState::Unspecified).then(|| state_name(made.from()))
}

fn state_name(state: AgentState) -> String {
    cells::name(state.as_str_name(), PREFIX)
}

fn state_of(name: &str) -> AgentState {
    AgentState::from_str_name(&cells::wire_name(name, PREFIX)).unwrap_or_default()
}
