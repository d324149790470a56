//! A text without the values of the secrets in it.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

use super::find;
use super::patterns::Patterns;

/// Scheme, and who is to be let in: a user, a password or a token. All of it goes, whatever it looks like.
static USER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#\s"'<>`]+)@"#).expect("a constant that tests compile")
});
/// The user of repositories over SSH, who is nobody.
const NOBODY: &str = "git";

/// The text with each secret of a known form masked, and without the users of URLs.
///
/// To be done before a text is cut: half of a token has no form. What is masked stays as it is.
pub(crate) fn masked(text: &str) -> String {
    let text = USER.replace_all(text, without_user);
    let mut told = String::with_capacity(text.len());
    let mut end = 0;
    for found in find(Patterns::text(), &text, |form, value| (form.likely)(value)) {
        told.push_str(&text[end..found.start]);
        told.push_str(&found.mask(&text));
        end = found.end;
    }
    told.push_str(&text[end..]);
    told
}

fn without_user(url: &Captures<'_>) -> String {
    let [all, scheme, user] = [0, 1, 2].map(|group| url.get(group).map_or("", |part| part.as_str()));
    if user == NOBODY { all.to_owned() } else { format!("{scheme}…@") }
}

/// The same for every text of a JSON value, names included.
pub(crate) fn masked_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(masked(&text)),
        Value::Array(items) => items.into_iter().map(masked_value).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (masked(&name), masked_value(value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters and digits that repeat nothing; put together here, so that this file holds no secret.
    fn random(length: usize) -> String {
        "q8Zr2Lw9Xc4Vb7Nm3Ka6Js5Hd1GfTyUiOpEWQzCvBnMlKjH".chars().cycle().take(length).collect()
    }

    #[test]
    fn known_forms_are_masked_wherever_they_stand() {
        let secret = random(36);
        for text in [
            format!("cloning https://me:gh{}{secret}@host/x", "p_"),
            format!("https://{secret}@host/x and https://me:p@{secret}@host"),
            format!("git+https://{secret}:x-oauth@host/x"),
            format!("export A=1 DB_PASSWORD={secret} next"),
            format!("aws_secret_access_key = {secret}"),
            format!("{{\"apiKey\": \"{secret}\"}}"),
            format!("> Authorization: Bearer {secret}"),
            format!("-----BEGIN RSA {} KEY-----\n{secret}\n", "PRIVATE"),
            format!("{secret}\n-----END {} KEY-----", "PRIVATE"),
        ] {
            let told = masked(&text);
            assert!(!told.contains(&secret[..8]) && told.contains('…'), "{told}");
            assert_eq!(masked(&told), told, "what is masked stays as it is");
        }
    }

    #[test]
    fn other_text_is_told_as_it_is() {
        for text in [
            "ssh://git@host/x",
            "https://host/a@b?c=d@e",
            "token: see docs/tokens.md",
            "password: ${DB_PASSWORD_1}",
            "1 likely secret: password in a URL in a.env:3",
            "3f2a91bc4d5e6f708192a3b4c5d6e7f8091a2b3c",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn values_are_masked_at_any_depth() {
        let token = format!("gh{}{}", "p_", random(36));
        let value = masked_value(serde_json::json!({"a": [{"b": token, "n": 1}], token.as_str(): null}));
        let kept =
            serde_json::json!({"a": [{"b": "ghp_… (40 characters)", "n": 1}], "ghp_… (40 characters)": null});
        assert_eq!(value, kept);
    }
}
