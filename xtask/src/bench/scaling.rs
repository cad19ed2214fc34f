//! How the rate of calls grows with connections and pipelines.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::load::{Generator, Shape};
use super::socket;
use crate::server::Server;

/// Connections at once.
pub(super) const CONNECTIONS: &[u32] = &[1, 4, 16, 64, 256];

/// Requests that a connection sends without waiting for their replies.
pub(super) const PIPELINES: &[u32] = &[1, 8, 64];

/// Rounds; each contender has one turn for each shape in each round.
const ROUNDS: usize = 3;

/// The contenders.
pub(super) const CONTENDERS: [&str; 2] = ["rewind", "lua"];

/// The rates of one contender under a load of one shape.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) contender: String,
    pub(super) shape: Shape,
    /// Replies a second, one figure a round.
    pub(super) rates: Figures,
}

/// Measures a `GET` and a `SET` in one function, rewound, and in Lua, on two servers that have both.
///
/// # Errors
/// If a call fails.
pub(super) fn measure(
    generator: &Generator,
    ferrite: &Server,
    valkey: &Server,
    seconds: f64,
) -> Result<Vec<Row>> {
    let function = socket::function("get_set", "rewind");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let (key, value) = ("bench:__rand_int__", "0123456789abcdef");
    let commands: [Vec<String>; 2] = [
        words(&["WASM.CALL", &function, "KEYS", key, "ARGS", value]),
        words(&["FCALL", "get_set", "1", key, value]),
    ];
    let mut rows: Vec<Row> = shapes()
        .flat_map(|shape| {
            CONTENDERS.map(|contender| Row {
                contender: contender.to_owned(),
                shape,
                rates: Figures::default(),
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        for row in &mut rows {
            let (server, command) = if row.contender == CONTENDERS[0] {
                (ferrite, &commands[0])
            } else {
                (valkey, &commands[1])
            };
            let Shape {
                connections,
                pipeline,
            } = row.shape;
            let rate = generator.rate(server, row.shape, command, seconds / 2.0)?;
            println!(
                "{round}/{ROUNDS}  {:<8} -c {connections:<3} -P {pipeline:<2} {rate:>12.0}/s",
                row.contender
            );
            row.rates.push(rate);
        }
    }
    Ok(rows)
}

fn shapes() -> impl Iterator<Item = Shape> {
    PIPELINES.iter().flat_map(|&pipeline| {
        CONNECTIONS.iter().map(move |&connections| Shape {
            connections,
            pipeline,
        })
    })
}

/// Returns the rates of one contender under one shape, if it was measured.
pub(super) fn rates<'a>(rows: &'a [Row], contender: &str, shape: Shape) -> Option<&'a Figures> {
    let row = |row: &&Row| row.contender == contender && row.shape == shape;
    rows.iter().find(row).map(|row| &row.rates)
}
