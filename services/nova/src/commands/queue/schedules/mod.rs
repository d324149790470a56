//! `nova queue schedules`: tasks that are enqueued again and again. [`show`] is how they look.

mod show;

use clap::{Args, Subcommand};
use nova_proto::queue::v1::{
    DeleteScheduleRequest, GetScheduleRequest, ListSchedulesRequest, MissedTicks, PutScheduleRequest,
    Schedule,
};
use serde_json::Value;
use tonic::{Code, Status};

use super::control::told;
use super::scope::Scope;
use super::template::Template;
use crate::commands::pages::Limit;
use crate::commands::{cells, output};

const MISSED: [&str; 3] = ["once", "skip", "all"];
const MISSED_PREFIX: &str = "MISSED_TICKS_";

/// Show and change schedules: tasks that are enqueued again and again.
#[derive(Debug, Args)]
pub(crate) struct Schedules {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List schedules by name.
    Ls {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one schedule.
    Show(Name),
    /// Store a schedule, in place of one of the same name.
    Put(Box<Put>),
    /// Let no tick of a schedule fire.
    Pause(Name),
    /// Let a schedule's ticks fire again, from the next one on; none is caught up with.
    Resume(Name),
    /// End a schedule; the tasks that it made stay.
    #[command(visible_alias = "rm")]
    Delete(Name),
}

/// The name of a schedule.
#[derive(Debug, Args)]
struct Name {
    /// Name of the schedule.
    schedule: String,
}

/// Store a schedule, in place of one of the same name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nova queue schedules put digest '0 7 * * 1-5' mail digest --time-zone Europe/Berlin
  nova queue schedules put sweep '*/5 * * * *' files sweep --unique-key sweep --deadline 5m")]
struct Put {
    /// Name of the schedule.
    schedule: String,
    /// Cron expression: minute, hour, day of month, month, day of week; seconds may come first. Or
    /// one of @hourly, @daily, @weekly, @monthly and @yearly.
    cron: String,
    #[command(flatten)]
    template: Template,
    /// IANA time zone, such as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE", default_value = "", hide_default_value = true)]
    time_zone: String,
    /// What becomes of ticks that nobody saw within a minute; later ones fire, whatever it says.
    #[arg(long, value_parser = MISSED, default_value = "once")]
    missed: String,
    /// Store it without letting a tick fire. One that is paused stays paused without it, too.
    #[arg(long)]
    paused: bool,
}

impl Schedules {
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self.action, Action::Ls { .. } | Action::Show { .. })
    }

    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        match self.action {
            Action::Ls { limit } => list(scope, limit).await,
            Action::Show(name) => show::one(scope, &name.get(scope).await?),
            Action::Put(put) => put.run(scope).await,
            Action::Pause(name) => name.set_paused(scope, true).await,
            Action::Resume(name) => name.set_paused(scope, false).await,
            Action::Delete(name) => name.delete(scope).await,
        }
    }
}

impl Name {
    /// The schedule; none when there is none of this name.
    async fn find(self, scope: &Scope<'_>) -> Result<Option<Schedule>, Status> {
        match self.get(scope).await {
            Err(status) if status.code() == Code::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn get(self, scope: &Scope<'_>) -> Result<Schedule, Status> {
        let request = GetScheduleRequest { namespace: scope.namespace(), name: self.schedule };
        Ok(scope.mesh.queue().get_schedule(request).await?.into_inner().schedule.unwrap_or_default())
    }

    /// Stores it again, as it is but for this: the contract has no verb for it.
    async fn set_paused(self, scope: &Scope<'_>, paused: bool) -> anyhow::Result<()> {
        let schedule = self.get(scope).await?;
        store(scope, Schedule { paused, ..schedule }).await
    }

    async fn delete(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let request = DeleteScheduleRequest { namespace: scope.namespace(), name: self.schedule };
        scope.mesh.queue().delete_schedule(request).await?;
        told(scope, 1, "deleted")
    }
}

impl Put {
    /// Whoever stores schedules at each start does not undo what an operator paused.
    async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let schedule = self.schedule()?;
        let known = Name { schedule: schedule.name.clone() }.find(scope).await?;
        let stays = !schedule.paused && known.is_some_and(|known| known.paused);
        if stays {
            tell!("nova: {0} stays paused: `nova queue schedules resume {0}` ends that", schedule.name);
        }
        store(scope, Schedule { paused: schedule.paused || stays, ..schedule }).await
    }

    fn schedule(self) -> anyhow::Result<Schedule> {
        let missed = MissedTicks::from_str_name(&cells::wire_name(&self.missed, MISSED_PREFIX));
        Ok(Schedule {
            name: self.schedule,
            cron: self.cron,
            time_zone: self.time_zone,
            task: Some(self.template.task()?),
            paused: self.paused,
            missed: missed.unwrap_or_default().into(),
            ..Default::default()
        })
    }
}

async fn store(scope: &Scope<'_>, schedule: Schedule) -> anyhow::Result<()> {
    let request = PutScheduleRequest { namespace: scope.namespace(), schedule: Some(schedule) };
    let answer = scope.mesh.queue().put_schedule(request).await?.into_inner();
    show::one(scope, &answer.schedule.unwrap_or_default())
}

async fn list(scope: &Scope<'_>, limit: Limit) -> anyhow::Result<()> {
    let page = async |page_size, page_token| {
        let request = ListSchedulesRequest { namespace: scope.namespace(), page_size, page_token };
        let page = scope.mesh.queue().list_schedules(request).await?.into_inner();
        Ok((page.schedules, page.next_page_token))
    };
    let schedules = limit.gather(page).await?;
    let records: Vec<Value> = schedules.iter().map(show::record).collect();
    let headers = ["SCHEDULE", "CRON", "TIME ZONE", "QUEUE", "KIND", "NEXT", "LAST"];
    output::rows(scope.context, headers, schedules.iter().map(show::row).collect(), &records)
}
