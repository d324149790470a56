//! `MemoryService`.

use nova_proto::memory::v1 as pb;
use nova_proto::memory::v1::memory_service_server::MemoryService;
use tonic::{Request, Response};

use super::Answer;
use super::memory_wire::{address_of, draft_of, of_hit, of_memory, page_token, search_of};
use crate::memory::Memories;

/// Serves the memories.
#[derive(Clone, Debug)]
pub(crate) struct MemoryApi {
    memories: Memories,
}

impl MemoryApi {
    pub(crate) fn new(memories: Memories) -> Self {
        Self { memories }
    }
}

#[tonic::async_trait]
impl MemoryService for MemoryApi {
    async fn put_memory(&self, request: Request<pb::PutMemoryRequest>) -> Answer<pb::PutMemoryResponse> {
        let caller = nova_rpc::caller(&request);
        let author =
            caller.spiffe_id.as_ref().ok_or_else(|| nova_rpc::Error::unauthenticated("who writes this?"))?;
        let lease = nova_rpc::lease::of_agents(&request)?;
        let (draft, request_id) = draft_of(request.into_inner())?;
        let stored = self.memories.under(lease).put(author, draft, request_id).await?;
        let memory = Some(of_memory(stored.memory));
        Ok(Response::new(pb::PutMemoryResponse { memory, duplicate: stored.duplicate }))
    }

    async fn get_memory(&self, request: Request<pb::GetMemoryRequest>) -> Answer<pb::GetMemoryResponse> {
        let (namespace, memory) = address_of(request.get_ref())?;
        let memory = self.memories.get(&namespace, memory).await?;
        Ok(Response::new(pb::GetMemoryResponse { memory: Some(of_memory(memory)) }))
    }

    async fn search_memories(
        &self,
        request: Request<pb::SearchMemoriesRequest>,
    ) -> Answer<pb::SearchMemoriesResponse> {
        let search = search_of(request.into_inner())?;
        let found = self.memories.search(search.clone()).await?;
        let next_page_token = page_token(&search, &found);
        Ok(Response::new(pb::SearchMemoriesResponse {
            hits: found.hits.into_iter().map(of_hit).collect(),
            next_page_token,
        }))
    }
}
