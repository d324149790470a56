//! `nova identity`.

use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::identity::v1::{
    AgentIdentity, GetAgentIdentityRequest, GetBundleRequest, ListAgentIdentitiesRequest, MintTokenRequest,
};
use nova_types::wire;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::namespace::Namespace;
use crate::commands::pages::Limit;
use crate::commands::{arguments, cells, output};
use crate::connection;

/// Show identities, and make tokens for workers.
#[derive(Debug, Args)]
pub(crate) struct Identity {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List agents' identities by id.
    Ls {
        #[command(flatten)]
        namespace: Namespace,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show an agent's identity.
    Show {
        /// Id of the agent.
        agent: String,
        #[command(flatten)]
        namespace: Namespace,
    },
    /// Make a bearer token, and print it alone.
    Token(Token),
    /// Print the mesh's root certificates, PEM; with --json also the keys that sign tokens.
    Bundle,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  NOVA_TOKEN=$(nova identity token worker/mailer --role worker --ttl 1h)")]
struct Token {
    /// Who bears it: worker/NAME or user/NAME.
    subject: String,
    /// What it may do; give it again for more than one.
    #[arg(long, required = true, value_parser = ["operator", "developer", "worker", "viewer"])]
    role: Vec<String>,
    /// How long it is good, at most 24h.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = arguments::duration)]
    ttl: Duration,
}

impl Identity {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if let Action::Token(token) = self.action {
            token.run(context, &connection::connect(&context.home).await?).await?;
            return Ok(ExitCode::SUCCESS);
        }
        connection::reading(context, async |mesh| match self.action {
            Action::Ls { namespace, limit } => list(context, &mesh, &namespace, limit).await,
            Action::Show { agent, namespace } => show(context, &mesh, &namespace, agent).await,
            Action::Bundle | Action::Token(_) => bundle(context, &mesh).await,
        })
        .await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Token {
    async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let ttl = Some(wire::to_duration(self.ttl));
        let request = MintTokenRequest { subject: self.subject, roles: self.role, ttl };
        let answer = mesh.identity().mint_token(request).await?.into_inner();
        if !context.json {
            return output::line(&answer.token);
        }
        let expire_time = cells::rfc3339(answer.expire_time.as_ref());
        output::json(&json!({"token": answer.token, "expire_time": expire_time}))
    }
}

async fn list(context: &Context, mesh: &Mesh, within: &Namespace, limit: Limit) -> anyhow::Result<()> {
    let page = async |page_size, page_token| {
        let namespace = within.to_request();
        let request = ListAgentIdentitiesRequest { namespace, page_size, page_token };
        let page = mesh.identity().list_agent_identities(request).await?.into_inner();
        Ok((page.identities, page.next_page_token))
    };
    let identities = limit.gather(page).await?;
    let rows = identities.iter().map(|identity| {
        let registered = cells::relative(identity.create_time.as_ref());
        [identity.agent_id.clone(), identity.spiffe_id.clone(), registered]
    });
    let records: Vec<Value> = identities.iter().map(record).collect();
    output::rows(context, ["AGENT", "IDENTITY", "REGISTERED"], rows.collect(), &records)
}

async fn show(context: &Context, mesh: &Mesh, within: &Namespace, agent_id: String) -> anyhow::Result<()> {
    let request = GetAgentIdentityRequest { namespace: within.to_request(), agent_id };
    let answer = mesh.identity().get_agent_identity(request).await?.into_inner();
    let identity = answer.identity.unwrap_or_default();
    let fields = [
        ("agent", identity.agent_id.clone()),
        ("identity", identity.spiffe_id.clone()),
        ("registered", cells::moment(identity.create_time.as_ref())),
    ];
    output::fields(context, &fields, &record(&identity))
}

async fn bundle(context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
    let bundle = mesh.identity().get_bundle(GetBundleRequest {}).await?.into_inner();
    let roots: String = bundle.x509_authorities.iter().map(|der| pem(der)).collect();
    if !context.json {
        return output::line(roots.trim_end());
    }
    output::json(&json!({
        "trust_domain": bundle.trust_domain,
        "roots_pem": roots,
        "jwks": cells::json_text(&bundle.jwks),
    }))
}

/// A certificate in PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for start in (0..text.len()).step_by(64) {
        pem.push_str(&text[start..text.len().min(start + 64)]);
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn record(identity: &AgentIdentity) -> Value {
    json!({
        "agent_id": identity.agent_id,
        "spiffe_id": identity.spiffe_id,
        "create_time": cells::rfc3339(identity.create_time.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_lines_of_sixty_four() {
        let pem = pem(&[7; 100]);
        let lines: Vec<usize> = pem.lines().map(str::len).collect();
        assert_eq!(lines, [27, 64, 64, 8, 25]);
    }
}
