//! Commands over data and over the server, with and without `MULTI`.

mod command_cases;
mod conflicts;
mod missing;
mod multi;
mod same;
mod server;
