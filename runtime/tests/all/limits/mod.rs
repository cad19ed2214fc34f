//! Limits of calls: budgets, depth, turns, and the price of what the host does.

mod budget;
mod depth;
mod exceeded;
mod host_costs;
mod scheduling;
