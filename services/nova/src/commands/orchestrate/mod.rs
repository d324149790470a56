//! `nova orchestrate`: [`stage`] is the mesh, [`input`] what goes in once it passes [`check`], [`follow`] and [`view`] what
//! is seen on the way, [`summary`] what comes out, and [`trace`] what ties it together.

mod check;
mod follow;
mod highlights;
pub(crate) mod input;
mod live;
mod stage;
mod summary;
mod trace;
mod view;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use nova_proto::lifecycle::v1::{Run, RunState, StartRunRequest};
use nova_rpc::trace::traceparent_of;
use serde_json::{Value, json};
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) use follow::follow;
pub(crate) use view::View;

use crate::cli::Context;
use crate::commands::namespace::Namespace;
use crate::commands::output;
use crate::commands::workflow::run;
use crate::failure::{self, Misuse};
use crate::signals;
use stage::Stage;

/// Run a plan, on the mesh that runs here or on one brought up for the run.
///
/// A mesh that is brought up goes down with the run, to the last process; what the run
/// recorded stays readable.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Orchestrate {
    /// Plan, YAML or JSON; - for standard input.
    plan: String,
    #[command(flatten)]
    inputs: input::Inputs,
    /// Phase to leave out; give it again for more.
    #[arg(long, value_name = "PHASE")]
    skip: Vec<String>,
    /// Write the report to this file too, Markdown.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    stage: stage::Options,
    /// Begin the run and leave; a mesh that was brought up stays.
    #[arg(long, conflicts_with = "report")]
    detach: bool,
}

const EXAMPLES: &str = "Examples:
  nova orchestrate deploy/blueprints/host-and-repo.yaml --input repo=.
  nova orchestrate plan.yaml --skip rehearsal --report report.md --keep";

impl Orchestrate {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let request = self.request()?;
        let stage = Stage::enter(context, self.stage, self.detach).await?;
        let telemetry = trace::start(&stage.file)?;
        let conduct = Conduct { context, stage: &stage, report: self.report, detach: self.detach };
        let outcome = conduct.perform(request).await;
        let wind_up = async {
            trace::finish(telemetry).await;
            stage.leave().await
        };
        tokio::select! {
            left = wind_up => left.and(outcome),
            code = signals::termination() => {
                tell!("nova: interrupted; what is left of the mesh goes down by itself");
                Ok(ExitCode::from(code?))
            }
        }
    }

    fn request(&self) -> anyhow::Result<StartRunRequest> {
        self.check_report()?;
        let plan = input::read_plan(&self.plan)?;
        let input = Value::Object(self.inputs.gather(&plan)?);
        check::check(&plan, &self.plan, &input, &self.skip)?;
        Ok(StartRunRequest {
            namespace: self.namespace.to_request(),
            input_json: input.to_string(),
            plan,
            file_name: self.plan.clone(),
            skip_phases: self.skip.clone(),
            request_id: Uuid::now_v7().to_string(),
        })
    }

    /// Finds out before the run whether its report will have a place.
    fn check_report(&self) -> anyhow::Result<()> {
        if let Some(folder) = self.report.as_deref().filter(|path| path.is_dir()) {
            return Err(Misuse::of(format!("cannot write the report: {} is a folder", folder.display())));
        }
        let folder =
            self.report.as_deref().and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.is_dir() => {
                Err(Misuse::of(format!("cannot write the report: there is no folder {}", folder.display())))
            }
            _ => self.report.as_deref().map_or(Ok(()), check_writable),
        }
    }
}

/// A file that is not there yet is not made: the run may not begin.
fn check_writable(report: &Path) -> anyhow::Result<()> {
    let folder = report.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let opened = match report.exists() {
        true => File::options().append(true).open(report).map(drop),
        false => tempfile::tempfile_in(folder).map(drop),
    };
    opened.map_err(|error| Misuse::of(format!("cannot write the report {}: {error}", report.display())))
}

/// The conduct of one run.
#[derive(Debug)]
struct Conduct<'a> {
    context: &'a Context,
    stage: &'a Stage,
    report: Option<PathBuf>,
    detach: bool,
}

impl Conduct<'_> {
    async fn perform(&self, request: StartRunRequest) -> anyhow::Result<ExitCode> {
        let root = trace::root();
        let traceparent = traceparent_of(&root);
        let run = self.start(request).instrument(root).await?;
        if self.detach {
            self.say_goodbye(&run)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut view = View::of(self.context).regardless_of_readers();
        let followed = tokio::select! {
            followed = self.follow(&run, traceparent.as_deref(), &mut view) => followed,
            code = signals::termination() => {
                view.close();
                self.tell_what_becomes_of(&run);
                return Ok(ExitCode::from(code?));
            }
        };
        view.close();
        self.end(&followed?).instrument(trace::below(traceparent.as_deref(), "nova report")).await
    }

    async fn follow(&self, run: &Run, traceparent: Option<&str>, view: &mut View) -> anyhow::Result<Run> {
        follow(&self.context.home, &self.stage.mesh, &run.namespace, &run.id, traceparent, view).await
    }

    async fn start(&self, request: StartRunRequest) -> anyhow::Result<Run> {
        Ok(self.stage.mesh.workflows().start_run(request).await?.into_inner().run.unwrap_or_default())
    }

    async fn end(&self, run: &Run) -> anyhow::Result<ExitCode> {
        summary::conclude(self.context, &self.stage.mesh, run, self.report.as_deref()).await?;
        let succeeded = run.state() == RunState::Succeeded;
        Ok(ExitCode::from(if succeeded { 0 } else { failure::FAILED }))
    }

    fn say_goodbye(&self, run: &Run) -> anyhow::Result<()> {
        if self.context.json {
            return output::json(&json!({"run": run::record(run)}));
        }
        tell!("nova: the run goes on; `nova workflow watch {}` follows it", run::name(run));
        output::line(&run.id)
    }

    /// After an interruption.
    fn tell_what_becomes_of(&self, run: &Run) {
        if self.stage.is_for_one_run() {
            tell!("nova: interrupted; the mesh that was brought up for the run goes down");
        } else {
            let id = run::name(run);
            tell!(
                "nova: the run goes on; `nova workflow watch {id}` follows it, `nova workflow cancel {id}` ends it"
            );
        }
    }
}
