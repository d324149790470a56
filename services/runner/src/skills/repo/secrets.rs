//! `repo.secrets`: keys and tokens left in the work tree. A finding never holds the value itself.

use serde::Serialize;

use super::tree::{Coverage, Limits, Tree};
use crate::skills::{Finding, Outcome, Request, SkillError, secret, text};

/// Secrets reported at most.
const MOST: usize = 200;
/// Characters of a path that are told.
const PATH: usize = 500;

/// The secrets of a work tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretsFinding {
    /// By path and line, at most 200.
    pub secrets: Vec<Secret>,
    /// How many there are in all.
    pub found: usize,
    /// What was looked at.
    pub coverage: Coverage,
}

/// Where something that looks like a secret stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// What it looks like.
    pub kind: &'static str,
    /// Path from the top.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// The value, masked: its first characters and its length.
    pub masked: String,
}

/// Serves `repo.secrets`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let repository = super::open(request)?;
    let tree = Tree::list(&repository, Limits { bytes: 64 << 20, ..Limits::default() })?;
    Outcome::of(&examine(&tree))
}

fn examine(tree: &Tree<'_>) -> SecretsFinding {
    let mut secrets = Vec::new();
    let mut found = 0;
    let coverage = tree.read(|file, text| {
        let here = search(&file.path, text);
        found += here.len();
        secrets.extend(here.into_iter().take(MOST - secrets.len()));
    });
    SecretsFinding { secrets, found, coverage }
}

/// Finds the secrets of one file.
fn search(path: &str, text: &str) -> Vec<Secret> {
    let place = |found: secret::Found| Secret {
        kind: found.form.kind,
        path: text::cut(path, PATH),
        line: text[..found.start].matches('\n').count() + 1,
        masked: found.mask(text),
    };
    secret::in_file(path, text).into_iter().map(place).collect()
}

impl Finding for SecretsFinding {
    fn summary(&self) -> String {
        let note = self.coverage.note.as_deref().map(|note| format!("; {note}")).unwrap_or_default();
        if self.found == 0 {
            let files = text::count(self.coverage.read as u64, "text file");
            return format!("no secrets in {files} of the work tree, whose history was not searched{note}");
        }
        let places =
            self.secrets.iter().map(|secret| format!("{} in {}:{}", secret.kind, secret.path, secret.line));
        let found = text::count(self.found as u64, "likely secret");
        format!("{found} in the work tree, whose history was not searched: {}{note}", text::list(places, 5))
    }

    fn importance(&self) -> f64 {
        if self.found > 0 { 0.95 } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skills::repo::fixture::Fixture;

    /// Letters and digits that repeat nothing; put together here, so that this file holds no secret.
    fn random(length: usize) -> String {
        "q8Zr2Lw9Xc4Vb7Nm3Ka6Js5Hd1GfTyUiOpEWQzCvBnMlKjH".chars().cycle().take(length).collect()
    }

    fn github_token() -> String {
        format!("{}p_{}", "gh", random(36))
    }

    #[test]
    fn token_is_found_and_its_value_is_nowhere_in_the_finding() {
        let fixture = Fixture::new()
            .file("ok.rs", "fn main() {}\n")
            .file("deploy/.env", format!("A=1\nT={}\n", github_token()));
        let outcome = run(&fixture.request("{}")).unwrap();
        let secret = &outcome.data["secrets"][0];
        assert_eq!((&secret["kind"], &secret["path"]), (&"GitHub token".into(), &"deploy/.env".into()));
        assert_eq!((&secret["line"], &secret["masked"]), (&2.into(), &"ghp_… (40 characters)".into()));
        let told = format!("{}{}", outcome.summary, outcome.data);
        assert!(!told.contains(&random(8)), "{told}");
        assert!(told.contains("whose history was not searched"), "{told}");
    }

    fn kinds(path: &str, text: &str) -> Vec<&'static str> {
        search(path, text).iter().map(|secret| secret.kind).collect()
    }

    #[test]
    fn kinds_are_told_apart() {
        let cases = [
            (format!("AKI{}", "AQ8ZR2LW9XC4VB7NM"), "AWS access key"),
            (format!("s{}-{}", "k", random(40)), "OpenAI key"),
            (format!("s{}-proj-{1}-{1}_{1}", "k", random(20)), "OpenAI key"),
            (format!("-----BEGIN RSA {} KEY-----\nMIIE", "PRIVATE"), "private key"),
            (format!("postgres://app:{}@db.internal/x", random(12)), "password in a URL"),
            (format!("client_secret = \"{}\"", random(32)), "random value under a secret's name"),
            (format!("{{\"apiKey\": \"{}\"}}", random(32)), "random value under a secret's name"),
            (format!("client_secret: {}", random(32)), "key in a configuration file"),
        ];
        for (text, kind) in cases {
            assert_eq!(kinds("file.yaml", &text), [kind], "{text}");
        }
    }

    #[test]
    fn values_without_quotes_are_found_in_configuration_files() {
        let (password, key) = (["password in a configuration file"], ["key in a configuration file"]);
        let cases = [
            (".env", "DB_PASSWORD=hunter2longvalue".to_owned(), password),
            (".env.production", format!("export SECRET_KEY={}", random(32)), key),
            ("aws/credentials", format!("aws_secret_access_key = {}/{}", random(20), random(19)), key),
            ("conf.yaml", "db:\n  password: Tr0ub4dor&3 # the old one\n  port: 5432\n".to_owned(), password),
            ("compose.yml", "    - SMTP_PASS=hunter2longvalue\r\n".to_owned(), password),
            ("app.properties", "spring.datasource.password=s3cr3t-Passw0rd".to_owned(), password),
            ("a.ini", "passphrase = \"s3cr3t!pass\"".to_owned(), password),
            (".npmrc", format!("//registry.npmjs.org/:_authToken={}", random(36)), key),
        ];
        for (path, text, kind) in cases {
            assert_eq!(kinds(path, &text), kind, "{path}: {text}");
            assert!(!search(path, &text)[0].masked.contains("2lo"), "{path}");
        }
    }

    #[test]
    fn what_stands_for_a_secret_is_none() {
        let cases = [
            "password = \"${PASSWORD_FROM_ENV}\"",
            "token: \"your-token-goes-here-0\"",
            "secret = \"aaaaaaaaaaaaaaaaaaaaaaa1\"",
            "postgres://user:<password>@host/x",
            "fn token(secret: &str) -> String {",
            "password: ${DB_PASSWORD_2}",
            "password: <password-1>",
            "DB_PASSWORD=changeme123",
            "SECRET_KEY=example-key-0123456789abcdef",
            "API_KEY=xxxxxxxxxxxxxxxx1234",
            "secretKeyRef: postgres-credentials-2v8s9d7f6",
            "secretName: my-app-tls-q8Zr2Lw9Xc4Vb7Nm",
            "secret: my-release-database-credentials-2",
            "token: ${{ secrets.GITHUB_TOKEN_2 }}",
            "password_file: /run/secrets/db1",
            "private_key: /etc/ssl/private/server-2024.key",
            "token_url: https://login.internal/oauth2/token",
            "password: Mot de passe 2024!",
            "password: !vault |",
            "tokenizer: bert-base-uncased-finetuned-v2",
            "password:\n  type: string\n  minLength: 8\n",
        ];
        for text in cases {
            assert_eq!(kinds("file.yaml", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn words_without_quotes_are_no_secrets_of_a_program() {
        assert_eq!(kinds("main.py", "password = hunter2longvalue"), [""; 0]);
    }

    #[test]
    fn a_token_under_a_secrets_name_is_one_secret() {
        assert_eq!(search("a.toml", &format!("api_token = \"{}\"", github_token())).len(), 1);
    }
}
