//! `nova queue workers`: who works.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use nova_proto::queue::v1::{ListWorkersRequest, Worker};
use serde_json::{Value, json};

use super::admin;
use super::scope::Scope;
use crate::commands::pages::Limit;
use crate::commands::{cells, output};

/// List who worked in the last minute.
#[derive(Debug, Args)]
pub(crate) struct Workers {
    /// Only those of this queue.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    queue: Option<String>,
}

impl Workers {
    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let queue = admin::known(scope, self.queue).await?;
        let page = async |page_size, page_token| {
            let (namespace, queue) = (scope.namespace(), queue.clone());
            let request = ListWorkersRequest { namespace, queue, page_size, page_token };
            let page = scope.mesh.queue().list_workers(request).await?.into_inner();
            Ok((page.workers, page.next_page_token))
        };
        let workers = Limit::none().gather(page).await?;
        let records: Vec<Value> = workers.iter().map(record).collect();
        let headers = ["WORKER", "IDENTITY", "QUEUES", "LEASES", "STREAM", "SEEN"];
        output::rows(scope.context, headers, workers.iter().map(row).collect(), &records)
    }
}

fn row(worker: &Worker) -> [String; 6] {
    [
        worker.name.clone(),
        worker.identity.clone(),
        worker.queues.join(" "),
        worker.leases.to_string(),
        if worker.streaming { "open".to_owned() } else { String::new() },
        cells::relative(worker.last_seen_time.as_ref()),
    ]
}

fn record(worker: &Worker) -> Value {
    json!({
        "name": worker.name,
        "identity": worker.identity,
        "queues": worker.queues,
        "leases": worker.leases,
        "streaming": worker.streaming,
        "first_seen_time": cells::rfc3339(worker.first_seen_time.as_ref()),
        "last_seen_time": cells::rfc3339(worker.last_seen_time.as_ref()),
    })
}
