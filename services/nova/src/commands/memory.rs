//! `nova memory`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::memory::v1::{
    GetMemoryRequest, Memory as Record, MemoryHit, MemoryKind, PutMemoryRequest, SearchMemoriesRequest,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::Context;
use crate::commands::namespace::Namespace;
use crate::commands::pages::Limit;
use crate::commands::{arguments, cells, output};
use crate::connection;

const PREFIX: &str = "MEMORY_KIND_";
const KINDS: [&str; 9] = [
    "sensory",
    "working",
    "episodic",
    "semantic",
    "procedural",
    "identity",
    "social",
    "prospective",
    "reflective",
];

/// Store, read and search memories.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    #[command(flatten)]
    namespace: Namespace,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Store a memory.
    Put(Put),
    /// Show one memory.
    Get {
        /// Id of the memory.
        memory: String,
    },
    /// Find memories by words, best first; without words, list the newest.
    Search(Search),
}

#[derive(Debug, Args)]
struct Put {
    /// What to remember: text, @FILE, or @- for standard input.
    #[arg(value_name = "TEXT|@FILE")]
    text: String,
    /// Kind of memory.
    #[arg(long, value_parser = KINDS)]
    kind: String,
    /// Label; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    label: Vec<(String, String)>,
    /// Structured content: JSON, @FILE, or @- for standard input.
    #[arg(long, value_name = "JSON|@FILE", default_value = "", hide_default_value = true)]
    data: String,
    /// 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    importance: f64,
    /// Idempotency key [default: a fresh one].
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

#[derive(Debug, Args)]
struct Search {
    /// Words to look for.
    #[arg(default_value = "", hide_default_value = true)]
    query: String,
    /// Only memories with this label; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    label: Vec<(String, String)>,
    #[command(flatten)]
    limit: Limit,
}

impl Memory {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let namespace = self.namespace.to_request();
        match self.action {
            Action::Put(put) => put.run(context, namespace).await?,
            Action::Get { memory } => {
                let request = GetMemoryRequest { namespace, memory_id: memory };
                connection::reading(context, async |mesh| get(context, &mesh, request).await).await?;
            }
            Action::Search(search) => {
                connection::reading(context, async |mesh| search.run(context, &mesh, &namespace).await)
                    .await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Put {
    async fn run(self, context: &Context, namespace: String) -> anyhow::Result<()> {
        let request = PutMemoryRequest { namespace, ..self.request()? };
        let mesh = connection::connect(&context.home).await?;
        let answer = mesh.memory().put_memory(request).await?.into_inner();
        if answer.duplicate {
            tell!("nova: the request id was known: this is the earlier memory");
        }
        let memory = answer.memory.unwrap_or_default();
        if context.json { output::json(&record(&memory)) } else { output::line(&memory.id) }
    }

    fn request(self) -> anyhow::Result<PutMemoryRequest> {
        let kind = MemoryKind::from_str_name(&cells::wire_name(&self.kind, PREFIX)).unwrap_or_default();
        Ok(PutMemoryRequest {
            request_id: self.request_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
            kind: kind.into(),
            text: arguments::text(&self.text)?,
            data_json: arguments::text(&self.data)?,
            labels: arguments::labels(self.label)?,
            importance: self.importance,
            ..Default::default()
        })
    }
}

async fn get(context: &Context, mesh: &Mesh, request: GetMemoryRequest) -> anyhow::Result<()> {
    let memory = mesh.memory().get_memory(request).await?.into_inner().memory.unwrap_or_default();
    let fields = [
        ("memory", memory.id.clone()),
        ("namespace", memory.namespace.clone()),
        ("kind", kind(&memory)),
        ("author", memory.author.clone()),
        ("stored", cells::moment(memory.create_time.as_ref())),
        ("importance", memory.importance.to_string()),
        ("labels", cells::labels(&memory.labels)),
        ("text", memory.text.clone()),
        ("data", memory.data_json.clone()),
    ];
    output::fields(context, &fields, &record(&memory))
}

impl Search {
    async fn run(self, context: &Context, mesh: &Mesh, namespace: &str) -> anyhow::Result<()> {
        let labels = arguments::labels(self.label)?;
        let page = async |page_size, page_token| {
            let (namespace, query, labels) = (namespace.to_owned(), self.query.clone(), labels.clone());
            let request = SearchMemoriesRequest { namespace, query, labels, page_size, page_token };
            let page = mesh.memory().search_memories(request).await?.into_inner();
            Ok((page.hits, page.next_page_token))
        };
        let hits = self.limit.gather(page).await?;
        let records: Vec<Value> = hits.iter().map(hit_record).collect();
        let headers = ["MEMORY", "SCORE", "KIND", "STORED", "AUTHOR", "TEXT"];
        output::rows(context, headers, hits.iter().map(row).collect(), &records)
    }
}

fn row(hit: &MemoryHit) -> [String; 6] {
    let memory = hit.memory.clone().unwrap_or_default();
    [
        memory.id.clone(),
        format!("{:.2}", hit.score),
        kind(&memory),
        cells::relative(memory.create_time.as_ref()),
        memory.author.clone(),
        cells::brief(&memory.text),
    ]
}

fn hit_record(hit: &MemoryHit) -> Value {
    let mut record = record(&hit.memory.clone().unwrap_or_default());
    record["score"] = hit.score.into();
    record
}

fn record(memory: &Record) -> Value {
    json!({
        "id": memory.id,
        "namespace": memory.namespace,
        "kind": kind(memory),
        "author": memory.author,
        "text": memory.text,
        "data": cells::json_text(&memory.data_json),
        "labels": memory.labels,
        "importance": memory.importance,
        "create_time": cells::rfc3339(memory.create_time.as_ref()),
    })
}

fn kind(memory: &Record) -> String {
    cells::name(memory.kind().as_str_name(), PREFIX)
}
