//! nova-bench
