//! What an operator can set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nova_types::{Violation, Violations};
use serde::{Deserialize, Serialize};

const HOUR: u64 = 60 * 60;
const DNS_NAMES_MAX: usize = 16;

/// Settings of the identity daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the certificate authority; unset means `authority` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_dir: Option<PathBuf>,
    /// More DNS names for the certificates of all daemons, such as the host's own name.
    pub dns_names: Vec<String>,
    /// Life of certificates, 4 s to 30 days, in seconds. They are renewed at half of it.
    pub certificate_seconds: u64,
    /// How long a `request_id` of PutMemory is remembered: 60 s to 30 days, in seconds.
    pub request_window_seconds: u64,
}

/// What every certificate is issued with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateTerms {
    /// More DNS names for those of daemons.
    pub dns_names: Vec<String>,
    /// Time from issue to end.
    pub lifetime: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            authority_dir: None,
            dns_names: Vec::new(),
            certificate_seconds: HOUR,
            request_window_seconds: 24 * HOUR,
        }
    }
}

impl Config {
    /// The folder of the authority, for a daemon whose state is in `data_dir`.
    pub fn authority_dir(&self, data_dir: &Path) -> PathBuf {
        self.authority_dir.clone().unwrap_or_else(|| data_dir.join("authority"))
    }

    pub(crate) fn certificate_terms(&self) -> CertificateTerms {
        let lifetime = Duration::from_secs(self.certificate_seconds);
        CertificateTerms { dns_names: self.dns_names.clone(), lifetime }
    }

    pub(crate) fn validate(&self) -> Result<(), Violations> {
        let mut violations = Violations::new();
        let window = 60..=30 * 24 * HOUR;
        violations.require(
            window.contains(&self.request_window_seconds),
            "request_window_seconds",
            &format!("{} must be 60 to 2,592,000", self.request_window_seconds),
        );
        violations.require(
            (4..=30 * 24 * HOUR).contains(&self.certificate_seconds),
            "certificate_seconds",
            &format!("{} must be 4 to 2,592,000", self.certificate_seconds),
        );
        let rule = format!("{} names must be at most {DNS_NAMES_MAX}", self.dns_names.len());
        violations.require(self.dns_names.len() <= DNS_NAMES_MAX, "dns_names", &rule);
        for (index, name) in self.dns_names.iter().enumerate() {
            if !is_dns_name(name) {
                violations.push(Violation::new(
                    format!("dns_names[{index}]"),
                    format!("{name:?} must be a DNS name"),
                ));
            }
        }
        violations.finish()
    }
}

fn is_dns_name(name: &str) -> bool {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn what_is_no_dns_name_is_named() {
        let names = ["mesh.example", "-bad", "also bad", ""].map(str::to_owned).to_vec();
        let violations = Config { dns_names: names, ..Config::default() }.validate().unwrap_err();
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.clone()).collect();
        assert_eq!(fields, ["dns_names[1]", "dns_names[2]", "dns_names[3]"]);
    }
}
