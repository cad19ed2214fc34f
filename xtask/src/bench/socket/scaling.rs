//! Rates of calls by connections and pipelines.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Pair, commands, function, load_functions};
use crate::bench::figures::Figures;
use crate::bench::load::{Generator, Shape};
use crate::bench::valkey::Durability;
use crate::binaries::BuildProfile;
use crate::workspace::Workspace;

/// Connections at once.
pub(in crate::bench) const CONNECTIONS: &[u32] = &[1, 4, 16, 64, 256];

/// Requests that a connection sends without waiting for their replies.
pub(in crate::bench) const PIPELINES: &[u32] = &[1, 8, 64];

/// Rounds; each contender has one turn for each shape in each round.
const ROUNDS: usize = 3;

/// The contenders: a function that is rewound, and a script.
pub(in crate::bench) const CONTENDERS: [&str; 2] = ["rewind", "lua"];

/// The function of the load.
const FUNCTION: &str = "get_set";

/// The rates of one contender under a load of one shape.
#[derive(Serialize, Deserialize)]
pub(in crate::bench) struct Row {
    pub(in crate::bench) contender: String,
    pub(in crate::bench) shape: Shape,
    /// Replies a second, one figure a round.
    pub(in crate::bench) rates: Figures,
}

/// Measures a `GET` and a `SET` in one function, in memory, under loads of every shape.
///
/// # Errors
/// If a server does not start or a call fails.
pub(in crate::bench) fn measure(
    workspace: &Workspace,
    profile: BuildProfile,
    seconds: f64,
) -> Result<Vec<Row>> {
    let generator = Generator::find()?;
    let folder = workspace.target.join("bench/scaling");
    let pair = Pair::start(workspace, profile, &folder, Durability::Memory)?;
    load_functions(workspace, &pair.ferrite)?;
    let [wasm, lua] = commands(FUNCTION, &function(FUNCTION, CONTENDERS[0]));
    let contenders = [
        (CONTENDERS[0], &pair.ferrite, wasm),
        (CONTENDERS[1], &pair.valkey, lua),
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
        for turn in rows.chunks_mut(contenders.len()) {
            for (row, (contender, server, command)) in turn.iter_mut().zip(&contenders) {
                let Shape {
                    connections,
                    pipeline,
                } = row.shape;
                let rate = generator.rate(server, row.shape, command, seconds)?;
                println!(
                    "{round}/{ROUNDS}  {contender:<8} -c {connections:<3} -P {pipeline:<2} {rate:>12.0}/s"
                );
                row.rates.push(rate);
            }
        }
    }
    pair.stop()?;
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
pub(in crate::bench) fn rates<'a>(
    rows: &'a [Row],
    contender: &str,
    shape: Shape,
) -> Option<&'a Figures> {
    let row = |row: &&Row| row.contender == contender && row.shape == shape;
    rows.iter().find(row).map(|row| &row.rates)
}
