//! Memories on the wire: checks on the way in, messages on the way out.

use nova_proto::memory::v1 as pb;
use nova_types::{MemoryId, Namespace, RequestId, Violation, Violations, wire};
use serde::de::IgnoredAny;

use crate::error::Error;
use crate::memory::{Draft, Hit, Hits, Memory, MemoryKind, Position, Search};
use crate::records;

const TEXT_MAX: usize = 64 * 1024;
const DATA_MAX: usize = 256 * 1024;
const QUERY_MAX: usize = 1024;
/// Hits behind these are not worth a page.
const HITS_MAX: u32 = 100_000;

/// What a writer says, checked, and its idempotency key.
pub(super) fn draft_of(message: pb::PutMemoryRequest) -> Result<(Draft, Option<RequestId>), Error> {
    let mut violations = Violations::new();
    let namespace = violations.take(Namespace::parse("namespace", &message.namespace));
    let request_id = violations.take(RequestId::parse("request_id", &message.request_id));
    let kind = violations.take(kind_of(message.kind));
    violations.take(wire::text("text", &message.text, 1..=TEXT_MAX));
    violations.take(json("data_json", &message.data_json));
    violations.take(wire::labels("labels", &message.labels));
    let rule = format!("{} must be 0 to 1", message.importance);
    violations.require((0.0..=1.0).contains(&message.importance), "importance", &rule);
    let (Some(namespace), Some(request_id), Some(kind), true) =
        (namespace, request_id, kind, violations.is_empty())
    else {
        return Err(violations.into());
    };
    let draft = Draft {
        namespace,
        kind,
        text: message.text,
        data_json: message.data_json,
        labels: message.labels.into_iter().collect(),
        importance: message.importance,
    };
    Ok((draft, request_id))
}

/// Which memory is meant.
pub(super) fn address_of(message: &pb::GetMemoryRequest) -> Result<(Namespace, MemoryId), Error> {
    let namespace = Namespace::parse("namespace", &message.namespace);
    let memory = MemoryId::parse("memory_id", &message.memory_id);
    Violations::both(namespace, memory).map_err(Error::Invalid)
}

/// What is searched for, checked.
pub(super) fn search_of(message: pb::SearchMemoriesRequest) -> Result<Search, Error> {
    let mut violations = Violations::new();
    let namespace = violations.take(Namespace::parse("namespace", &message.namespace));
    let limit = violations.take(wire::page_size("page_size", message.page_size, 20, 1_000));
    violations.take(wire::text("query", &message.query, 0..=QUERY_MAX));
    violations.take(wire::labels("labels", &message.labels));
    let (Some(namespace), Some(limit), true) = (namespace, limit, violations.is_empty()) else {
        return Err(violations.into());
    };
    let labels = message.labels.into_iter().collect();
    let search = Search { namespace, query: message.query, labels, after: None, limit };
    let after = position_of(&search, &message.page_token)?;
    Ok(Search { after, ..search })
}

/// The token of the next page; empty when this is the last one.
pub(super) fn page_token(search: &Search, found: &Hits) -> String {
    let Some(last) = found.hits.last().filter(|_| found.more) else { return String::new() };
    let position = if search.query.is_empty() {
        last.memory.id.to_string()
    } else {
        let before = if let Some(Position::Hits(hits)) = search.after { hits } else { 0 };
        before.saturating_add(u32::try_from(found.hits.len()).unwrap_or(u32::MAX)).to_string()
    };
    wire::page_token(format!("{}/{position}", what_is_searched(search)).as_bytes())
}

fn position_of(search: &Search, token: &str) -> Result<Option<Position>, Violation> {
    let Some(text) = wire::parse_page_token_text("page_token", token)? else { return Ok(None) };
    let rule = || Violation::new("page_token", "must be a token from the page before of the same search");
    let (searched, position) = text.split_once('/').ok_or_else(rule)?;
    if searched != what_is_searched(search) {
        return Err(rule());
    }
    if search.query.is_empty() {
        return Ok(Some(Position::Memory(MemoryId::parse("page_token", position)?)));
    }
    let hits = position.parse().ok().filter(|hits| *hits <= HITS_MAX).ok_or_else(rule)?;
    Ok(Some(Position::Hits(hits)))
}

/// A page token is good for one search: this is its fingerprint.
fn what_is_searched(search: &Search) -> String {
    let whole = (&search.namespace, &search.query, &search.labels);
    records::fingerprint(&records::encode(&whole))[..16].to_owned()
}

fn json(field: &str, text: &str) -> Result<(), Violation> {
    wire::text(field, text, 0..=DATA_MAX)?;
    let parsed = if text.is_empty() { Ok(()) } else { serde_json::from_str::<IgnoredAny>(text).map(drop) };
    parsed.map_err(|error| Violation::new(field, format!("must be JSON: {error}")))
}

fn kind_of(kind: i32) -> Result<MemoryKind, Violation> {
    use pb::MemoryKind as Wire;
    Ok(match Wire::try_from(kind) {
        Ok(Wire::Sensory) => MemoryKind::Sensory,
        Ok(Wire::Working) => MemoryKind::Working,
        Ok(Wire::Episodic) => MemoryKind::Episodic,
        Ok(Wire::Semantic) => MemoryKind::Semantic,
        Ok(Wire::Procedural) => MemoryKind::Procedural,
        Ok(Wire::Identity) => MemoryKind::Identity,
        Ok(Wire::Social) => MemoryKind::Social,
        Ok(Wire::Prospective) => MemoryKind::Prospective,
        Ok(Wire::Reflective) => MemoryKind::Reflective,
        Ok(Wire::Unspecified) | Err(_) => {
            return Err(Violation::new("kind", format!("{kind} must be a kind of memory, 1 to 9")));
        }
    })
}

fn of_kind(kind: MemoryKind) -> pb::MemoryKind {
    match kind {
        MemoryKind::Sensory => pb::MemoryKind::Sensory,
        MemoryKind::Working => pb::MemoryKind::Working,
        MemoryKind::Episodic => pb::MemoryKind::Episodic,
        MemoryKind::Semantic => pb::MemoryKind::Semantic,
        MemoryKind::Procedural => pb::MemoryKind::Procedural,
        MemoryKind::Identity => pb::MemoryKind::Identity,
        MemoryKind::Social => pb::MemoryKind::Social,
        MemoryKind::Prospective => pb::MemoryKind::Prospective,
        MemoryKind::Reflective => pb::MemoryKind::Reflective,
    }
}

pub(super) fn of_memory(memory: Memory) -> pb::Memory {
    let content = memory.content;
    pb::Memory {
        id: memory.id.to_string(),
        namespace: content.namespace.to_string(),
        author: memory.author.to_string(),
        kind: of_kind(content.kind).into(),
        text: content.text,
        data_json: content.data_json,
        labels: content.labels.into_iter().collect(),
        importance: content.importance,
        create_time: Some(memory.created.to_wire()),
    }
}

pub(super) fn of_hit(hit: Hit) -> pb::MemoryHit {
    pb::MemoryHit { memory: Some(of_memory(hit.memory)), score: hit.score }
}
