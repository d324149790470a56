//! Whether a server may be trusted with records.

use crate::Error;

/// First version with functions.
const NEEDED_MAJOR: u32 = 7;

/// Judges the answer to `INFO`. Its fields are read instead of `CONFIG GET`, which hosted servers forbid.
pub(super) fn check(address: &str, info: &str) -> Result<(), Error> {
    let version = field(info, "redis_version").unwrap_or("unknown");
    if major(version).is_none_or(|major| major < NEEDED_MAJOR) {
        return Err(Error::RedisTooOld { address: address.to_owned(), found: version.to_owned() });
    }
    let policy = field(info, "maxmemory_policy").unwrap_or("unknown");
    if policy != "noeviction" {
        return Err(Error::RedisEvicts { address: address.to_owned(), policy: policy.to_owned() });
    }
    Ok(())
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

    fn judge(version: &str, policy: &str) -> Result<(), Error> {
        check("here:1", &format!("# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\n"))
    }

    #[test]
    fn a_server_with_functions_that_keeps_everything_is_accepted() {
        assert!(judge("7.0.15", "noeviction").is_ok());
        assert!(judge("8.2.0", "noeviction").is_ok());
    }

    #[test]
    fn a_server_without_functions_is_refused() {
        assert!(matches!(judge("6.2.14", "noeviction"), Err(Error::RedisTooOld { .. })));
        assert!(matches!(check("here:1", ""), Err(Error::RedisTooOld { .. })));
    }

    #[test]
    fn a_server_that_evicts_is_refused() {
        let refusal = judge("7.2.4", "allkeys-lru").unwrap_err();
        assert!(refusal.to_string().contains("set maxmemory-policy to noeviction"), "{refusal}");
    }
}
