//! Whether a value under a secret's name is one, or only stands for one.

/// A value is random enough from here on, in bits per character; a password, which is shorter, from here.
const ENTROPY: f64 = 3.5;
const PASSWORD_ENTROPY: f64 = 2.5;
/// Longest value that is looked at, in bytes.
const LONGEST: usize = 512;

/// Parts of values that stand for a secret and are none.
const PLACEHOLDERS: &[&str] = &[
    "example",
    "changeme",
    "change_me",
    "change-me",
    "replace",
    "insert",
    "placeholder",
    "dummy",
    "your",
    "xxx",
    "test",
    "fake",
    "sample",
    "redacted",
    "12345678",
    "***",
    "...",
    "…",
];

/// Beginnings and parts of values that say where a secret is.
const REFERENCE_STARTS: &[char] = &['$', '<', '{', '(', '[', '|', '>', '!', '&', '*', '%'];
const REFERENCE_PARTS: &[&str] = &["${", "$(", "{{", "<%", "://", "arn:", "vault:", "ssm:"];

/// True for what stands for a secret.
pub(super) fn is_placeholder(value: &str) -> bool {
    let lower = value.to_lowercase();
    PLACEHOLDERS.iter().any(|word| lower.contains(word))
}

/// For forms that tell by themselves.
pub(super) fn always(_: &str) -> bool {
    true
}

/// For a key in quotes.
pub(super) fn random(value: &str) -> bool {
    !is_placeholder(value) && entropy(value) >= ENTROPY && value.contains(|c: char| c.is_ascii_digit())
}

/// For a key without quotes, which may as well be a name, a path or an expression.
pub(super) fn unquoted(value: &str) -> bool {
    value.len() <= LONGEST && random(value) && !is_reference(value) && !is_words(value)
}

/// For a password without quotes: what is but letters may be any word.
pub(super) fn password(value: &str) -> bool {
    let strange = |c: char| c.is_ascii_digit() || "!@#$%^&*+=~?".contains(c);
    value.len() <= LONGEST
        && value.contains(strange)
        && entropy(value) >= PASSWORD_ENTROPY
        && !is_placeholder(value)
        && !is_reference(value)
}

/// A variable, a template, a URL, a call, a path or a field of something.
fn is_reference(value: &str) -> bool {
    value.starts_with(REFERENCE_STARTS)
        || REFERENCE_PARTS.iter().any(|part| value.contains(part))
        || (value.contains('(') && value.ends_with(')'))
        || is_path(value)
        || is_field(value)
}

/// A path is less random than a key that begins like one.
fn is_path(value: &str) -> bool {
    value.starts_with(['/', '.', '~']) && value.contains('/') && entropy(value) < 4.5
}

fn is_field(value: &str) -> bool {
    let name = |part: &str| {
        part.len() <= 20
            && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    value.contains('.') && value.split('.').all(name)
}

/// `my-app-token-2`: small words and numbers between marks.
fn is_words(value: &str) -> bool {
    let word = |part: &str| {
        let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
        part.len() - letters.len() <= 4 && letters.chars().all(|c| c.is_ascii_lowercase())
    };
    value.contains(['-', '_', '.', '/']) && value.split(['-', '_', '.', '/', ':']).all(word)
}

/// Shannon's entropy of a value, in bits per character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = value.len() as f64;
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / length);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_keys_are_told_from_what_stands_for_them() {
        for value in ["hunter2longvalue", "s3cr3t-Passw0rd", "Tr0ub4dor&3", "correct-horse-battery-9"] {
            assert!(password(value), "{value}");
        }
        for value in [
            "${DB_PASSWORD}",
            "<password>",
            "changeme123",
            "example-1",
            "xxxxxxxx1",
            "required",
            "{{ .pw1 }}",
            "%env1%",
            "/run/secrets/db1",
            "secrets.db1.value",
            "!vault",
            "getenv(DB_1)",
            "aaaaaaa1",
        ] {
            assert!(!password(value), "{value}");
        }
        assert!(unquoted("q8Zr2Lw9Xc4Vb7Nm3Ka6") && !unquoted("my-release-database-credentials-2"));
    }
}
