//! Finds functions at whose entry the code looks at the fuel, so that no calls lead round without a look.

/// Calls between functions; some nodes stand for all functions that a reference of some type may lead to.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Nodes that each node leads to. Functions come first.
    pub(super) to: Vec<Vec<usize>>,
    /// Number of nodes that are functions.
    pub(super) functions: usize,
}

/// An order of the nodes, and the functions that look.
#[derive(Debug)]
pub(super) struct Order {
    /// Nodes, each after those that it leads to, but for some that lead back to it: of those, only the ones that
    /// look may come later.
    pub(super) nodes: Vec<usize>,
    /// For each node, true if it is a function that looks where it begins.
    pub(super) looks: Vec<bool>,
    /// A number for each node, the same for nodes that lead to each other. Nodes lead to no larger one.
    pub(super) components: Vec<usize>,
}

/// Chooses functions so that each way from a function back to itself leads through one of them.
pub(super) fn order(calls: &Calls) -> Order {
    let mut looks = vec![false; calls.to.len()];
    // References that lead to themselves again: all their functions on the way look, or all that call them there
    // if those are fewer.
    let components = components(calls);
    let mut from = vec![Vec::new(); calls.to.len() - calls.functions];
    for (function, to) in calls.to.iter().take(calls.functions).enumerate() {
        for &reference in to {
            if let Some(number) = reference.checked_sub(calls.functions)
                && components[function] == components[reference]
                && from[number].last() != Some(&function)
            {
                from[number].push(function);
            }
        }
    }
    for (number, callers) in from.into_iter().enumerate() {
        let reference = calls.functions + number;
        let functions = calls.to[reference].iter().copied();
        let functions: Vec<usize> = functions
            .filter(|&function| components[function] == components[reference])
            .collect();
        let fewer = if callers.len() < functions.len() {
            callers
        } else {
            functions
        };
        for function in fewer {
            looks[function] = true;
        }
    }
    // What is left are cycles of functions. Each has a way back to one that was begun and not ended.
    let mut nodes = Vec::with_capacity(calls.to.len());
    let mut states = vec![State::New; calls.to.len()];
    let mut open: Vec<(usize, usize)> = Vec::new();
    for root in 0..calls.to.len() {
        if states[root] != State::New {
            continue;
        }
        states[root] = State::Begun;
        open.push((root, 0));
        while let Some((node, next)) = open.last_mut() {
            let node = *node;
            let Some(&to) = calls.to[node].get(*next) else {
                states[node] = State::Ended;
                nodes.push(node);
                open.pop();
                continue;
            };
            *next += 1;
            match states[to] {
                _ if looks[to] => {}
                State::New => {
                    states[to] = State::Begun;
                    open.push((to, 0));
                }
                State::Begun => looks[to] = true,
                State::Ended => {}
            }
        }
    }
    // What was left out above because it looks comes first, too, unless it leads back.
    nodes.sort_by_key(|&node| components[node]);
    Order {
        nodes,
        looks,
        components,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Begun,
    Ended,
}

/// Returns a number for each node, the same for nodes that lead to each other (Tarjan's algorithm, without
/// recursion: a chain of calls may be as long as the number of functions).
fn components(calls: &Calls) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let count = calls.to.len();
    let mut components = vec![NONE; count];
    let (mut index, mut low) = (vec![NONE; count], vec![0; count]);
    let (mut found, mut numbers) = (0, 0);
    let mut stack = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    for root in 0..count {
        if index[root] != NONE {
            continue;
        }
        open.push((root, 0));
        while let Some((node, next)) = open.last_mut() {
            let node = *node;
            if index[node] == NONE {
                (index[node], low[node]) = (found, found);
                found += 1;
                stack.push(node);
            }
            if let Some(&to) = calls.to[node].get(*next) {
                *next += 1;
                if index[to] == NONE {
                    open.push((to, 0));
                } else if components[to] == NONE {
                    low[node] = low[node].min(index[to]);
                }
                continue;
            }
            open.pop();
            if let Some(&(caller, _)) = open.last() {
                low[caller] = low[caller].min(low[node]);
            }
            if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    components[member] = numbers;
                    if member == node {
                        break;
                    }
                }
                numbers += 1;
            }
        }
    }
    components
}
