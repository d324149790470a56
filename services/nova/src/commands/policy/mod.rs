//! `nova policy`: modules and where they stand. What was decided is in [`decisions`].

pub(crate) mod decisions;

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::policy::v1::{
    DeletePolicyRequest, GetPolicyRequest, GetPolicyStatusRequest, ListPoliciesRequest, PolicyModule,
    PutPolicyRequest,
};
use serde_json::json;
use tonic::Code;

use crate::cli::Context;
use crate::commands::{arguments, cells, output};
use crate::connection;
use crate::failure::Misuse;

/// Show decisions and policies, and change policies.
#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(flatten)]
    Read(Reading),
    /// Store a module and activate the new revision, if it compiles and its tests pass.
    Put(Put),
    /// Remove a module and activate the new revision, if what is left compiles and passes.
    #[command(visible_alias = "rm")]
    Delete {
        /// Id of the module.
        module: String,
    },
}

/// What changes nothing, and needs no mesh that runs.
#[derive(Debug, Subcommand)]
enum Reading {
    /// Show which revision is active, and who watches it.
    Status,
    /// List the modules of the active revision.
    Ls,
    /// Print a module's Rego.
    Show {
        /// Id of the module, such as authz.rego or authz.
        module: String,
    },
    /// Ask a question of the active revision; the exit code is 0 for allow and 4 for deny.
    Check(decisions::Check),
    /// List recorded decisions, newest first.
    Decisions(decisions::Decisions),
    /// Tell why a recorded decision fell as it did.
    Explain {
        /// Id of the decision, as the denied caller was told.
        decision: String,
    },
}

#[derive(Debug, Args)]
struct Put {
    /// Rego file; - for standard input.
    file: String,
    /// Id of the module [default: the file's name].
    #[arg(long)]
    id: Option<String>,
}

impl Policy {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Put(put) => put.run(context).await?,
            Action::Delete { module } => delete(context, module).await?,
            Action::Read(reading) => {
                return connection::reading(context, async |mesh| reading.run(context, &mesh).await).await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Reading {
    async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(check) => return check.run(context, mesh).await,
            Self::Status => status(context, mesh).await?,
            Self::Ls => list(context, mesh).await?,
            Self::Decisions(decisions) => decisions.run(context, mesh).await?,
            Self::Explain { decision } => decisions::explain(context, mesh, decision).await?,
            Self::Show { module } => show(context, mesh, module).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn status(context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
    let status = mesh.policy().get_policy_status(GetPolicyStatusRequest {}).await?.into_inner();
    let record = json!({
        "revision": status.revision,
        "activate_time": cells::rfc3339(status.activate_time.as_ref()),
        "last_error": status.last_error,
        "decisions": status.decisions,
        "dropped": status.dropped,
        "watchers": status.watchers,
    });
    let fields = [
        ("revision", status.revision),
        ("active since", cells::moment(status.activate_time.as_ref())),
        ("last change", status.last_error),
        ("decisions", status.decisions.to_string()),
        ("dropped", status.dropped.to_string()),
        ("watched by", status.watchers.join(" ")),
    ];
    output::fields(context, &fields, &record)
}

async fn list(context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
    let policies = mesh.policy().list_policies(ListPoliciesRequest {}).await?.into_inner();
    let modules: Vec<&str> = policies.modules.iter().map(|module| module.id.as_str()).collect();
    let rows = modules.iter().map(|module| [(*module).to_owned(), policies.revision.clone()]).collect();
    let record = json!({"revision": policies.revision, "modules": modules});
    output::rows(context, ["MODULE", "REVISION"], rows, &record)
}

async fn show(context: &Context, mesh: &Mesh, module_id: String) -> anyhow::Result<()> {
    let module = module(mesh, module_id).await?;
    let record = json!({"id": module.id, "rego": module.rego});
    if context.json { output::json(&record) } else { output::foreign(&module.rego) }
}

/// The module of this id, or of the file that it is without its ending.
async fn module(mesh: &Mesh, id: String) -> anyhow::Result<PolicyModule> {
    let get = async |module_id| mesh.policy().get_policy(GetPolicyRequest { module_id }).await;
    let answer = match get(id.clone()).await {
        Err(status) if status.code() == Code::NotFound && !id.ends_with(".rego") => {
            get(format!("{id}.rego")).await.map_err(|_| status)
        }
        answer => answer,
    };
    Ok(answer?.into_inner().module.unwrap_or_default())
}

impl Put {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let id = self.id()?;
        let rego = arguments::text_of_file(&self.file)?;
        let mesh = connection::connect(&context.home).await?;
        let request = PutPolicyRequest { module: Some(PolicyModule { id, rego }) };
        let answer = mesh.policy().put_policy(request).await?.into_inner();
        revision(context, answer.revision)
    }

    fn id(&self) -> anyhow::Result<String> {
        let file = Path::new(&self.file).file_name().filter(|name| *name != "-");
        let name = || file.map(|name| name.to_string_lossy().into_owned());
        self.id
            .clone()
            .or_else(name)
            .ok_or_else(|| Misuse::of("give --id: standard input has no name".to_owned()))
    }
}

async fn delete(context: &Context, module_id: String) -> anyhow::Result<()> {
    let mesh = connection::connect(&context.home).await?;
    let answer = mesh.policy().delete_policy(DeletePolicyRequest { module_id }).await?.into_inner();
    revision(context, answer.revision)
}

fn revision(context: &Context, revision: String) -> anyhow::Result<()> {
    let record = json!({"revision": revision});
    output::fields(context, &[("revision", revision)], &record)
}
