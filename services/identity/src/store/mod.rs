//! The daemon's own store: the full-text index of memories.

mod search_index;

pub(crate) use search_index::SearchIndex;
