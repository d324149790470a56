//! What goes wrong: daemons die and stop, clocks are set, the server fails over.

use std::{rc::Rc, time::Duration};

use nova_chaos::seed::Seed;
use tokio::time::sleep;

use super::{Plan, ledger::LOSABLE, mesh::Mesh};

/// How far the clock of a promoted server may be from that of the last one, microseconds: little, so that what the
/// clock decides is seen sharply.
const SKEW: i64 = 50_000;

/// The same where nobody sets clocks: longer than takeovers and leases take.
const WILD_SKEW: i64 = 10_000_000;

/// How far server clocks may be apart in a plan, microseconds.
pub(super) fn skew(plan: Plan) -> i64 {
    if plan.wild { WILD_SKEW } else { SKEW }
}

pub(super) async fn break_things(mesh: Rc<Mesh>, mut seed: Seed) {
    while !mesh.stopping.get() {
        sleep(Duration::from_millis(seed.between(200, 3_000))).await;
        if mesh.stopping.get() {
            break;
        }
        match seed.below(10) {
            0..4 if !mesh.plan.lone => crash(&mesh, &mut seed).await,
            4 => forward(&mesh, &mut seed),
            5 => back(&mesh, &mut seed),
            6..8 => freeze(&mesh, &mut seed).await,
            _ => fail_over(&mesh, &mut seed),
        }
    }
}

async fn crash(mesh: &Mesh, seed: &mut Seed) {
    mesh.kill(any(mesh, seed));
    if mesh.plan.shared && seed.chance(40) {
        // The server with it, and maybe every daemon that remembers something.
        fail_over(mesh, seed);
        if seed.chance(50) {
            mesh.numbers().for_each(|number| mesh.kill(number));
        }
    }
    sleep(Duration::from_millis(seed.below(2_000))).await;
    for number in mesh.numbers().filter(|number| !mesh.is_up(*number)) {
        mesh.start(number);
    }
}

fn any(mesh: &Mesh, seed: &mut Seed) -> u32 {
    u32::try_from(seed.between(1, u64::from(*mesh.numbers().end()))).unwrap()
}

fn forward(mesh: &Mesh, seed: &mut Seed) {
    let before = mesh.clock.micros();
    let by = if seed.chance(10) { 3_600 } else { seed.between(1, 20) };
    mesh.clock.forward(Duration::from_secs(by));
    mesh.recorder.clock_set(before);
}

fn back(mesh: &Mesh, seed: &mut Seed) {
    let before = mesh.clock.micros();
    mesh.clock.back(Duration::from_secs(seed.between(1, 10)));
    mesh.recorder.clock_set(before);
}

async fn freeze(mesh: &Mesh, seed: &mut Seed) {
    let number = any(mesh, seed);
    mesh.shelf.get().frozen = Some(number);
    sleep(Duration::from_millis(seed.between(500, 6_000))).await;
    mesh.shelf.get().frozen = None;
    mesh.recorder.restarted();
}

fn fail_over(mesh: &Mesh, seed: &mut Seed) {
    if !mesh.plan.shared {
        return;
    }
    let lost = usize::try_from(seed.below(LOSABLE as u64 + 1)).unwrap();
    let skew = i64::try_from(seed.below(skew(mesh.plan).unsigned_abs())).unwrap();
    let skew = if seed.chance(50) { skew } else { -skew };
    mesh.shelf.get().fail_over(lost, skew, mesh.recorder.now().order);
    mesh.recorder.failed_over();
}
