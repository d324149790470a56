//! Whether a server may be trusted with records.

use crate::Error;

/// First version with functions.
const NEEDED_MAJOR: u32 = 7;

/// What a primary does with what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// It keeps an append-only file.
    pub(super) appends: bool,
}

/// Judges the answer to `INFO`. Its fields are read instead of `CONFIG GET`, which hosted servers forbid.
pub(super) fn judge(address: &str, info: &str) -> Result<Server, Error> {
    let version = field(info, "redis_version").unwrap_or("unknown");
    if major(version).is_none_or(|major| major < NEEDED_MAJOR) {
        return Err(Error::RedisTooOld { address: address.to_owned(), found: version.to_owned() });
    }
    let policy = field(info, "maxmemory_policy").unwrap_or("unknown");
    if policy != "noeviction" {
        return Err(Error::RedisEvicts { address: address.to_owned(), policy: policy.to_owned() });
    }
    if field(info, "role") == Some("slave") {
        return Err(Error::RedisReplica { address: address.to_owned() });
    }
    Ok(Server { appends: field(info, "aof_enabled") == Some("1") })
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(version: &str, policy: &str, rest: &str) -> Result<Server, Error> {
        let info = format!("# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\n{rest}\r\n");
        judge("here:1", &info)
    }

    #[test]
    fn a_server_with_functions_that_keeps_everything_is_accepted() {
        assert!(!judged("7.0.15", "noeviction", "role:master\r\naof_enabled:0").unwrap().appends);
        assert!(judged("8.2.0", "noeviction", "aof_enabled:1").unwrap().appends);
    }

    #[test]
    fn a_server_without_functions_is_refused() {
        assert!(matches!(judged("6.2.14", "noeviction", ""), Err(Error::RedisTooOld { .. })));
        assert!(matches!(judge("here:1", ""), Err(Error::RedisTooOld { .. })));
    }

    #[test]
    fn a_server_that_evicts_is_refused() {
        let refusal = judged("7.2.4", "allkeys-lru", "").unwrap_err();
        assert!(refusal.to_string().contains("set maxmemory-policy to noeviction"), "{refusal}");
    }

    #[test]
    fn a_replica_is_refused_until_it_is_promoted() {
        assert!(judged("7.2.4", "noeviction", "role:slave").unwrap_err().is_retryable());
    }
}
