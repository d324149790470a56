//! What depends on what: ancestors and cycles.

use std::collections::BTreeSet;

/// Everything that `node` needs, directly or not; with `node` itself when it lies on a cycle.
pub(super) fn ancestors(node: usize, needs: impl Fn(usize) -> Vec<usize>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = needs(node);
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(needs(next));
        }
    }
    found
}

/// A cycle among `count` nodes, in the order in which each needs the next; none when there is none.
pub(super) fn cycle(count: usize, needs: impl Fn(usize) -> Vec<usize>) -> Option<Vec<usize>> {
    let mut waits: Vec<usize> = (0..count).map(|node| needs(node).len()).collect();
    let mut needed_by = vec![Vec::new(); count];
    for node in 0..count {
        needs(node).into_iter().for_each(|need| needed_by[need].push(node));
    }
    let mut free: Vec<usize> = (0..count).filter(|node| waits[*node] == 0).collect();
    while let Some(node) = free.pop() {
        for next in &needed_by[node] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                free.push(*next);
            }
        }
    }
    let start = (0..count).find(|node| waits[*node] > 0)?;
    Some(follow(start, |node| needs(node).into_iter().find(|need| waits[*need] > 0)))
}

/// Walks from `start` until a node comes again, and gives the loop.
fn follow(start: usize, next: impl Fn(usize) -> Option<usize>) -> Vec<usize> {
    let mut path = vec![start];
    while let Some(node) = path.last().and_then(|last| next(*last)) {
        if let Some(position) = path.iter().position(|seen| *seen == node) {
            return path.split_off(position);
        }
        path.push(node);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(edges: &'static [&'static [usize]]) -> impl Fn(usize) -> Vec<usize> {
        move |node| edges[node].to_vec()
    }

    #[test]
    fn a_tree_has_no_cycle() {
        assert_eq!(cycle(3, needs(&[&[], &[0], &[0, 1]])), None);
    }

    #[test]
    fn a_cycle_is_named_without_what_hangs_on_it() {
        let mut found = cycle(4, needs(&[&[], &[3, 0], &[1], &[2]])).unwrap();
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3]);
    }

    #[test]
    fn ancestors_are_transitive() {
        assert_eq!(ancestors(2, needs(&[&[], &[0], &[1]])), BTreeSet::from([0, 1]));
    }
}
