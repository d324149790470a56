//! What a policy is asked, and what it answers.

use std::sync::Arc;

use nova_rpc::Credential;
use nova_types::SpiffeId;
use regorus::Value;
use serde::{Deserialize, Serialize};

/// Characters of a reason or a remedy.
const LONGEST_SENTENCE: usize = 1_000;

/// A question, kept for the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// SPIFFE id of the caller; empty is anonymous.
    pub subject: String,
    /// Roles of the caller, sorted.
    pub roles: Vec<String>,
    /// What proved who calls.
    #[serde(default)]
    pub credential: Credential,
    /// Daemon that serves the call, such as `queue`.
    pub service: String,
    /// Full method, `nova.queue.v1.QueueService/Enqueue`.
    pub method: String,
}

impl Asked {
    /// The same question whatever the order of its roles.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.roles.sort_unstable();
        self.roles.dedup();
        self
    }

    /// The question as the policy's `input`.
    pub fn input(&self) -> Value {
        let mut input = Value::new_object();
        let fields = input.as_object_mut().expect("it was made an object");
        let mut put = |key: &str, value: Value| fields.insert(Value::from(key), value);
        put("subject", Value::from(self.subject.as_str()));
        put("principal", Value::from(self.principal()));
        put("roles", Value::from(self.roles.iter().map(|role| role.as_str().into()).collect::<Vec<Value>>()));
        put("credential", Value::from(self.credential.as_str()));
        put("service", Value::from(self.service.as_str()));
        put("method", Value::from(self.method.as_str()));
        input
    }

    /// All that an answer depends on, as one text.
    pub(crate) fn cache_key(&self) -> String {
        let credential = self.credential.as_str();
        key([&self.subject, &self.service, &self.method, credential], &self.roles)
    }

    /// The path of the caller's id, such as `user/operator`.
    pub(crate) fn principal(&self) -> String {
        SpiffeId::parse("subject", &self.subject).map(|id| id.path().to_owned()).unwrap_or_default()
    }
}

/// All that the answer to a call depends on, as one text. Roles in another order are another text.
pub(crate) fn call_key(call: &nova_rpc::Question<'_>) -> String {
    let subject = call.subject.map_or("", AsRef::as_ref);
    key([subject, call.service, call.method, call.credential.as_str()], call.roles)
}

/// No part can hold the separators.
fn key(parts: [&str; 4], roles: &[String]) -> String {
    let bytes: usize =
        parts.iter().map(|part| part.len() + 1).chain(roles.iter().map(|role| role.len() + 1)).sum();
    let mut key = String::with_capacity(bytes);
    for part in parts {
        key.push_str(part);
        key.push('\0');
    }
    for role in roles {
        key.push_str(role);
        key.push('\u{1}');
    }
    key
}

impl From<&nova_rpc::Question<'_>> for Asked {
    fn from(question: &nova_rpc::Question<'_>) -> Self {
        let asked = Self {
            subject: question.subject.map(ToString::to_string).unwrap_or_default(),
            roles: question.roles.to_vec(),
            credential: question.credential,
            service: question.service.to_owned(),
            method: question.method.to_owned(),
        };
        asked.sorted()
    }
}

/// What a policy answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the call may proceed.
    pub allow: bool,
    /// Why, in a sentence.
    pub why: Arc<str>,
    /// What would have to change for the other verdict; empty when the policy does not say.
    pub remedy: Arc<str>,
    /// How the policy itself failed, if it did: then this is no answer to what was asked.
    pub fault: Option<Fault>,
}

/// How a policy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answered nothing, or broke, and will again.
    Broken,
    /// It ran for longer than it may: perhaps it only had to wait for a processor.
    Late,
}

impl Answer {
    /// A denial because the policy failed.
    pub(crate) fn fault(fault: Fault, why: &str) -> Self {
        Self { allow: false, why: shortened(why), remedy: "".into(), fault: Some(fault) }
    }

    /// Reads `{allow, why, remedy}`.
    pub(crate) fn read(value: &Value) -> Self {
        let text = |field: &str| value[field].as_string().map(|text| shortened(text)).unwrap_or_default();
        match value["allow"].as_bool() {
            Ok(&allow) => Self { allow, why: text("why"), remedy: text("remedy"), fault: None },
            Err(_) => Self::fault(Fault::Broken, "the policy answered nothing"),
        }
    }
}

/// A sentence of a bounded length: it goes into records.
fn shortened(text: &str) -> Arc<str> {
    match text.char_indices().nth(LONGEST_SENTENCE) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}
