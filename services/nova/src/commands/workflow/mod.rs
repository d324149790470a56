//! `nova workflow`.

mod check;
pub(crate) mod run;
mod step;
pub(crate) mod unfinished;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::lifecycle::v1::{
    CancelRunRequest, GetRunReportRequest, GetRunRequest, ListRunsRequest, Run, RunState,
};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::namespace::Namespace;
use crate::commands::orchestrate::{View, follow};
use crate::commands::pages::Limit;
use crate::commands::{cells, output, short_id};
use crate::failure::Misuse;
use crate::home::MeshState;
use crate::{connection, failure, signals};

/// Length of a run's id, characters.
const UUID: usize = 36;

/// Show and end runs of plans, and check plans.
#[derive(Debug, Args)]
pub(crate) struct Workflow {
    #[command(flatten)]
    namespace: Namespace,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List runs, newest first.
    Ls {
        /// Only runs that go on.
        #[arg(long)]
        running: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a run with its steps.
    Show {
        /// Id of the run, or how that of one of the latest 1,000 begins.
        run: String,
        /// Show this step alone, with its result.
        #[arg(long, conflicts_with = "report")]
        step: Option<String>,
        /// Print the report below.
        #[arg(long)]
        report: bool,
    },
    /// Check a plan, and show its steps in the order in which they begin.
    Check(check::Check),
    /// Follow a run to its end; the exit code is 0 when it succeeds.
    Watch {
        /// Id of the run, or how that of one of the latest 1,000 begins.
        run: String,
    },
    /// End a run before its steps have ended, and wait until it has.
    ///
    /// Tasks that are open are cancelled, whoever works on one is told, and the run's agents
    /// are let go. A run that has ended stays as it is.
    Cancel {
        /// Id of the run, or how that of one of the latest 1,000 begins.
        run: String,
    },
    /// Print a run's report, Markdown.
    Report {
        /// Id of the run, or how that of one of the latest 1,000 begins.
        run: String,
    },
}

impl Workflow {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let namespace = self.namespace.as_str();
        match self.action {
            Action::Watch { run } => return watch(context, namespace, run).await,
            Action::Cancel { run } => return cancel(context, namespace, run).await,
            Action::Check(check) => check.run(context).await?,
            Action::Ls { running, limit } => {
                let at_rest = context.home.running()?.is_none_or(|mesh| mesh.state == MeshState::Stopping);
                let runs = connection::reading(context, async |mesh| {
                    list(context, &mesh, namespace, running, limit).await
                })
                .await?;
                if at_rest && !runs.iter().all(run::is_over) {
                    tell!("nova: no mesh runs; what is shown as running goes on with the next `nova up`");
                }
            }
            Action::Show { run, step: Some(step), .. } => {
                connection::reading(context, async |mesh| {
                    step::show(context, &mesh, namespace, &run, &step).await
                })
                .await?;
            }
            Action::Show { run, report, .. } => {
                connection::reading(context, async |mesh| {
                    show(context, &mesh, namespace, &run, report).await
                })
                .await?;
            }
            Action::Report { run } => {
                let (run, markdown) = connection::reading(context, async |mesh| {
                    let run = whole_id(&mesh, namespace, &run).await?;
                    let markdown = report(&mesh, namespace, &run).await?;
                    Ok((run, markdown))
                })
                .await?;
                match context.json {
                    true => output::json(&json!({"run_id": run, "report": markdown}))?,
                    false => output::foreign(&markdown)?,
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints runs, and gives them.
async fn list(
    context: &Context,
    mesh: &Mesh,
    namespace: &str,
    running: bool,
    limit: Limit,
) -> anyhow::Result<Vec<Run>> {
    let page = async |page_size, page_token| {
        let namespace = namespace.to_owned();
        let request = ListRunsRequest { namespace, page_size, page_token, running };
        let page = mesh.workflows().list_runs(request).await?.into_inner();
        Ok((page.runs, page.next_page_token))
    };
    let runs = limit.gather(page).await?;
    let rows = runs.iter().map(|run| {
        [
            run.id.clone(),
            run.plan.clone(),
            run::state(run),
            cells::relative(run.create_time.as_ref()),
            cells::elapsed(run.create_time.as_ref(), run.end_time.as_ref()),
            run.actor.clone(),
            run.trace_id.clone(),
        ]
    });
    let records: Vec<Value> = runs.iter().map(run::record).collect();
    let headers = ["RUN", "PLAN", "STATE", "BEGAN", "TOOK", "BY", "TRACE"];
    output::rows(context, headers, rows.collect(), &records)?;
    Ok(runs)
}

async fn show(
    context: &Context,
    mesh: &Mesh,
    namespace: &str,
    id: &str,
    with_report: bool,
) -> anyhow::Result<()> {
    let run = get(mesh, namespace, &whole_id(mesh, namespace, id).await?).await?;
    let markdown = if with_report { Some(report(mesh, namespace, &run.id).await?) } else { None };
    if context.json {
        let mut record = run::record(&run);
        record["report"] = markdown.into();
        return output::json(&record);
    }
    let fields = [
        ("run", run.id.clone()),
        ("plan", run.plan.clone()),
        ("state", run::state(&run)),
        ("message", run.message.clone()),
        ("began", cells::moment(run.create_time.as_ref())),
        ("took", cells::elapsed(run.create_time.as_ref(), run.end_time.as_ref())),
        ("by", run.actor.clone()),
        ("input", run.input_json.clone()),
        ("trace", run.trace_id.clone()),
    ];
    output::fields(context, &fields, &())?;
    output::line("")?;
    run::steps(&run)?;
    match markdown {
        Some(markdown) => output::foreign(&format!("\n{markdown}")),
        None => Ok(()),
    }
}

async fn watch(context: &Context, namespace: &str, run_id: String) -> anyhow::Result<ExitCode> {
    let mesh = connection::connect(&context.home).await?;
    let run_id = whole_id(&mesh, namespace, &run_id).await?;
    let mut view = View::of(context);
    let run = tokio::select! {
        run = follow(&context.home, &mesh, namespace, &run_id, None, &mut view) => run?,
        code = signals::termination() => return Ok(ExitCode::from(code?)),
    };
    view.close();
    let succeeded = run.state() == RunState::Succeeded;
    Ok(ExitCode::from(if succeeded { 0 } else { failure::FAILED }))
}

async fn cancel(context: &Context, namespace: &str, run_id: String) -> anyhow::Result<ExitCode> {
    let mesh = connection::connect(&context.home).await?;
    let run_id = whole_id(&mesh, namespace, &run_id).await?;
    let request = CancelRunRequest { namespace: namespace.to_owned(), run_id: run_id.clone() };
    let run = mesh.workflows().cancel_run(request).await?.into_inner().run.unwrap_or_default();
    if run::is_over(&run) {
        tell!("nova: the run had ended before");
    }
    let mut view = View::nothing();
    let run = tokio::select! {
        run = follow(&context.home, &mesh, namespace, &run_id, None, &mut view) => run?,
        code = signals::termination() => return Ok(ExitCode::from(code?)),
    };
    match context.json {
        true => output::json(&run::record(&run))?,
        false => output::line(&run::state(&run))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The id of the run whose id begins with `id`.
async fn whole_id(mesh: &Mesh, namespace: &str, id: &str) -> anyhow::Result<String> {
    if id.len() == UUID {
        return Ok(id.to_owned());
    }
    if !short_id::may_begin(id, UUID) {
        bail!(Misuse::of(format!(
            "{id:?} is neither the id of a run nor how one begins; `nova workflow ls` lists them"
        )));
    }
    let (namespace, page_size) = (namespace.to_owned(), short_id::LATEST);
    let request = ListRunsRequest { namespace, page_size, ..Default::default() };
    let runs = mesh.workflows().list_runs(request).await?.into_inner().runs;
    short_id::complete("run", id, runs.iter().map(|run| run.id.as_str()))
}

/// Reads a run with its steps.
pub(crate) async fn get(mesh: &Mesh, namespace: &str, id: &str) -> anyhow::Result<Run> {
    let (namespace, run_id) = (namespace.to_owned(), id.to_owned());
    let request = GetRunRequest { namespace, run_id, ..Default::default() };
    Ok(mesh.workflows().get_run(request).await?.into_inner().run.unwrap_or_default())
}

/// Reads a run's report.
pub(crate) async fn report(mesh: &Mesh, namespace: &str, id: &str) -> anyhow::Result<String> {
    let request = GetRunReportRequest { namespace: namespace.to_owned(), run_id: id.to_owned() };
    Ok(mesh.workflows().get_run_report(request).await?.into_inner().markdown)
}
