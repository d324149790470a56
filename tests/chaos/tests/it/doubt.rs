//! The history of a real run, changed so that it shows a fault: one that the checker does not find there, in spite of all
//! that it has to allow for, it would not have found in a queue that has it.

use nova_chaos::{
    checker::check,
    history::{Answer, Grant, History, Operation, Rest, State},
};

use crate::load::rules;

/// Changes what was told, or what is left.
type Fault = fn(&mut History, &mut Rest);

/// Fails when a fault would have gone unnoticed.
pub(crate) fn would_be_found(history: &History, rest: &Rest) {
    let faults: [(&str, Fault); 3] =
        [("forgot a task", forget), ("gave a token twice", give_twice), ("changed a result", change_result)];
    for (what, commit) in faults {
        let (mut history, mut rest) = (history.clone(), rest.clone());
        commit(&mut history, &mut rest);
        assert!(!check(&history, &rest, &rules()).is_empty(), "nobody would notice that the queue {what}");
    }
}

/// Takes a task away that was stored for good, and completed.
fn forget(history: &mut History, rest: &mut Rest) {
    let lasting = |operation: &&Operation| !history.may_be_lost(operation);
    let stored = history.operations.iter().filter(lasting).filter_map(|operation| match &operation.answer {
        Answer::Stored(ids, _) => Some(ids),
        _ => None,
    });
    let ids: Vec<&String> = stored.flatten().map(|(id, _)| id).collect();
    let is_one = |id: &String| ids.contains(&id);
    let at = rest.tasks.iter().position(|task| task.state == State::Completed && is_one(&task.id));
    rest.tasks.remove(at.expect("some task was stored for good"));
}

fn give_twice(history: &mut History, _: &mut Rest) {
    let mut grants = history.operations.iter_mut().filter_map(first_grant);
    let token = grants.next().expect("a task was given").lease.token;
    grants.next().expect("another one, too").lease.token = token;
}

fn first_grant(operation: &mut Operation) -> Option<&mut Grant> {
    match &mut operation.answer {
        Answer::Given(grants) => grants.first_mut(),
        _ => None,
    }
}

fn change_result(_: &mut History, rest: &mut Rest) {
    let result = rest.tasks.iter_mut().find_map(|task| task.result.as_mut());
    *result.expect("a task was completed") = "what nobody said".to_owned();
}
