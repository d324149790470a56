//! Groups with weights that have more work than is done, while things break.

use std::{collections::BTreeMap, rc::Rc};

use nova_chaos::{history::Job, seed::Seed};

use super::{broken::Broken, front::Way, mesh::Mesh, producer::task, words::namespace, worker::work_off};
use crate::record::QueueSettings;

/// Tasks of each group, in calls of ten: more than its part of the leases that are looked at.
const CALLS: usize = 15;

/// Leases that are given: more than are looked at.
const LEASES: usize = 220;

/// Weights of the groups.
pub(super) fn weights() -> BTreeMap<String, u32> {
    [("a", 1), ("b", 2), ("c", 3)].map(|(group, weight)| (group.to_owned(), weight)).into()
}

/// Enqueues all of them, then works on some.
pub(super) async fn share(mesh: &Rc<Mesh>, mut seed: Seed) {
    let weighted = mesh.plan.broken != Some(Broken::IgnoresWeights);
    mesh.ask_leader(async |store| {
        let weigh = move |settings: &mut QueueSettings| {
            let all = weights().into_iter().filter(|_| weighted);
            settings.group_weights = all.map(|(group, weight)| (group.into(), weight)).collect();
        };
        store.configure(&namespace(), &"q".into(), weigh).await
    })
    .await;
    let mut way = Way::new(Rc::clone(mesh), 1, seed.fork());
    for call in 0..CALLS {
        for group in weights().keys() {
            let job = |number| Job {
                queue: "q".into(),
                key: format!("{group}-{call}-{number}"),
                max_attempts: 5,
                group: group.clone(),
                ..Job::default()
            };
            let jobs: Vec<Job> = (0..10).map(job).collect();
            while !way.enqueue(&jobs, jobs.iter().map(task).collect()).await {}
        }
    }
    work_off(mesh, LEASES, seed.fork()).await;
}
