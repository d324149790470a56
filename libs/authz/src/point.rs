//! The decision point: one revision in force, swapped as a whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use nova_rpc::{Authorizer, Decision, Question, trace};
use nova_types::{Clock, DecisionId, Timestamp, TrustDomain};
use tokio::sync::watch;
use tracing::{Span, field};

use crate::budget::Budget;
use crate::cache_file::CacheFile;
use crate::ring::Ring;
use crate::{
    Answer, Asked, CompileError, Config, Decided, Engine, Fault, Refusal, Snapshot, verify_essentials,
};

/// Reports of decisions are not themselves recorded: each would make another.
const NOT_RECORDED: &str = "nova.policy.v1.PolicyService/ReportDecisions";

/// The decision point of a daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PolicyPoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    config: Config,
    clock: Arc<dyn Clock>,
    cache: Option<CacheFile>,
    active: ArcSwap<Active>,
    status: watch::Sender<Status>,
    loaded: watch::Sender<bool>,
    ring: Ring,
    allowed: AtomicU64,
    budget: Budget,
}

#[derive(Debug)]
struct Active {
    engine: Engine,
    bootstrap: bool,
}

/// How a daemon's policy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Revision in force.
    pub revision: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether new revisions reach the daemon at present.
    pub connected: bool,
}

impl PolicyPoint {
    /// The decision point of the daemon `name`, with the snapshot that was cached in
    /// `data_dir`, or else with the bootstrap revision.
    pub fn new(name: &'static str, data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, CompileError> {
        Self::with_config(name, Some(data_dir), clock, Config::default())
    }

    /// The same with other settings; without a folder nothing is cached.
    pub fn with_config(
        name: &'static str,
        data_dir: Option<&Path>,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Result<Self, CompileError> {
        Self::within_domain(name, &TrustDomain::default(), data_dir, clock, config)
    }

    /// The same in another trust domain.
    pub fn within_domain(
        name: &'static str,
        domain: &TrustDomain,
        data_dir: Option<&Path>,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Result<Self, CompileError> {
        let bootstrap = Active { engine: compile(&config, Snapshot::bootstrap())?, bootstrap: true };
        let revision = bootstrap.engine.snapshot().revision().to_owned();
        let status = Status { revision, since: clock.now(), connected: false };
        let point = Self(Arc::new(Inner {
            ring: Ring::new(config.waiting_decisions),
            cache: data_dir.map(CacheFile::within),
            active: ArcSwap::from_pointee(bootstrap),
            status: watch::Sender::new(status),
            loaded: watch::Sender::new(false),
            allowed: AtomicU64::new(0),
            budget: Budget::new(config.record_allowed_per_second, config.waiting_decisions),
            name,
            config,
            clock,
        }));
        point.load_cached(domain);
        Ok(point)
    }

    /// One that locks everybody out must not keep the policy daemon from joining and bringing a better one.
    fn load_cached(&self, domain: &TrustDomain) {
        let Some(snapshot) = self.0.cache.as_ref().and_then(CacheFile::load) else { return };
        let checked = verify_essentials(&snapshot, domain);
        let published = checked.and_then(|()| self.publish(snapshot).map_err(Refusal::Compile));
        if let Err(error) = published {
            tracing::warn!(%error, "the policy on disk is not used");
        }
    }

    /// Puts a revision in force, at once for every call that comes now. A bad one changes nothing.
    pub fn publish(&self, snapshot: Snapshot) -> Result<(), CompileError> {
        let revision = snapshot.revision().to_owned();
        let engine = compile(&self.0.config, snapshot)?;
        self.0.active.store(Arc::new(Active { engine, bootstrap: false }));
        let since = self.0.clock.now();
        tracing::info!(revision, daemon = self.0.name, "policy in force");
        self.0.status.send_modify(|status| (status.revision, status.since) = (revision, since));
        self.0.loaded.send_replace(true);
        Ok(())
    }

    /// Keeps a snapshot for the next start.
    pub(crate) fn save(&self, snapshot: &Snapshot) {
        let Some(cache) = &self.0.cache else { return };
        if let Err(error) = cache.save(snapshot) {
            tracing::warn!(%error, "the policy cannot be cached; a restart has to wait for the policy daemon");
        }
    }

    /// Turns true once a revision other than the bootstrap one is in force.
    pub fn loaded(&self) -> watch::Receiver<bool> {
        self.0.loaded.subscribe()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// Follows how it stands.
    pub fn status_changes(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.0
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.connected, connected) != connected);
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.0.ring
    }

    /// Decides a question without recording it.
    pub fn check(&self, asked: &Asked) -> Decided {
        let active = self.0.active.load();
        let started = Instant::now();
        let (answer, remembered) = active.engine.decide(asked);
        let elapsed = if remembered { Duration::ZERO } else { started.elapsed() };
        self.decided(asked.clone(), &active, &answer, elapsed)
    }

    fn decided(&self, asked: Asked, active: &Active, answer: &Answer, elapsed: Duration) -> Decided {
        let time = self.0.clock.now();
        Decided {
            id: DecisionId::new(time),
            asked,
            allow: answer.allow,
            why: answer.why.to_string(),
            revision: active.engine.snapshot().revision().to_owned(),
            time,
            elapsed,
            trace_id: trace::current_trace_id().unwrap_or_default(),
        }
    }

    /// Whether this allowed call is one of those that are to be recorded.
    fn is_recorded(&self, question: &Question<'_>) -> bool {
        let one_in = self.0.config.record_allowed_one_in;
        one_in > 0
            && question.method != NOT_RECORDED
            && self.0.allowed.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in)
    }

    fn allow(&self, question: &Question<'_>, decide: impl FnOnce() -> Decided) -> Decision {
        if self.is_recorded(question) {
            if self.0.budget.admits() {
                self.0.ring.push(decide());
            } else {
                self.0.ring.add_dropped(1);
            }
        }
        Decision::Allow
    }

    fn deny(&self, decided: Decided) -> Decision {
        let id = decided.id;
        tracing::info!(decision_id = %id, subject = decided.asked.subject, why = decided.why, "denied");
        self.0.ring.push(decided);
        Decision::Deny(id)
    }
}

impl Authorizer for PolicyPoint {
    fn authorize(&self, question: &Question<'_>) -> Decision {
        let active = self.0.active.load();
        let span = decision_span(question, active.engine.snapshot().revision());
        let started = Instant::now();
        let (answer, remembered) = active.engine.decide_call(question);
        let elapsed = if remembered { Duration::ZERO } else { started.elapsed() };
        span.record("policy.cached", remembered);
        span.record("policy.verdict", verdict(&answer, active.bootstrap));
        if answer.allow {
            return self.allow(question, || self.decided(question.into(), &active, &answer, elapsed));
        }
        span.record("otel.status_code", "ERROR");
        if active.bootstrap {
            return Decision::Undecided(
                "no policy is loaded yet; the policy daemon has to come up".to_owned(),
            );
        }
        let denied = self.deny(self.decided(question.into(), &active, &answer, elapsed));
        if answer.fault == Some(Fault::Late) {
            let limit = self.0.config.evaluation_limit_ms;
            return Decision::Undecided(format!("policy took longer than {limit} ms to decide this call"));
        }
        denied
    }
}

/// None below a call that nobody records: even a span that is not kept costs a tenth of a guarded call.
fn decision_span(question: &Question<'_>, revision: &str) -> Span {
    if !trace::may_record() {
        return Span::none();
    }
    tracing::info_span!(
        "policy.decide",
        policy.method = question.method,
        policy.revision = revision,
        policy.verdict = field::Empty,
        policy.cached = field::Empty,
        otel.status_code = field::Empty,
    )
}

fn verdict(answer: &Answer, bootstrap: bool) -> &'static str {
    match (answer.allow, bootstrap) {
        (true, _) => "allow",
        (false, true) => "not_loaded",
        (false, false) => "deny",
    }
}

fn compile(config: &Config, snapshot: Snapshot) -> Result<Engine, CompileError> {
    Engine::new(snapshot, config.evaluation_limit(), config.cached_answers)
}
