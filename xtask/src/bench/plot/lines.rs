//! Replies a second by connections, a line for each contender and pipeline.

use std::fmt::Write as _;

use super::STYLE;
use crate::bench::figures::Rate;
use crate::bench::load::Shape;
use crate::bench::socket::scaling::{CONNECTIONS, CONTENDERS, PIPELINES, Row, rates};

/// Label and colour of each contender. The colours differ in lightness too.
const LOOKS: [(&str, &str); 2] = [("wasm, rewind", "#2f7fb8"), ("Lua in Valkey", "#e0963c")];

/// Dashes of the line of each pipeline, the shortest first.
const DASHES: [&str; 3] = ["2 4", "7 4", "none"];

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 50.0;

/// Draws the plot. Both axes are logarithmic.
pub(in crate::bench) fn scaling(rows: &[Row]) -> String {
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut svg, rows);
    svg
}

fn draw(svg: &mut String, rows: &[Row]) -> std::fmt::Result {
    let medians = || rows.iter().map(|row| row.rates.median());
    let low = 10f64.powf(medians().fold(f64::MAX, f64::min).log10().floor());
    let high = medians().fold(1.0, f64::max) * 1.2;
    let last = f64::from(CONNECTIONS.last().copied().unwrap_or(1));
    let x =
        |connections: u32| LEFT + f64::from(connections).ln() / last.ln() * (WIDTH - LEFT - RIGHT);
    let y = |rate: f64| {
        HEIGHT - BOTTOM - (rate / low).ln() / (high / low).ln() * (HEIGHT - TOP - BOTTOM)
    };
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="13">"#
    )?;
    writeln!(svg, "{STYLE}")?;
    writeln!(
        svg,
        r#"<text x="{LEFT}" y="20" font-weight="600">Calls a second by connections, of a GET and a SET in one function</text>"#
    )?;
    let mut at = LEFT;
    for (label, colour) in LOOKS {
        writeln!(
            svg,
            r#"<rect x="{at}" y="32" width="11" height="11" fill="{colour}"/><text class="soft" x="{}" y="42">{label}</text>"#,
            at + 16.0
        )?;
        at += 125.0;
    }
    let mut tick = low;
    while tick <= high {
        let line = y(tick);
        writeln!(
            svg,
            r#"<line x1="{LEFT}" x2="{:.1}" y1="{line:.1}" y2="{line:.1}" stroke-width="0.3"/><text class="soft" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            WIDTH - RIGHT,
            LEFT - 8.0,
            line + 4.0,
            Rate(tick)
        )?;
        tick *= 10.0;
    }
    for &connections in CONNECTIONS {
        writeln!(
            svg,
            r#"<text class="soft" x="{:.1}" y="{}" text-anchor="middle">{connections}</text>"#,
            x(connections),
            HEIGHT - BOTTOM + 20.0
        )?;
    }
    writeln!(
        svg,
        r#"<text class="soft" x="{:.1}" y="{}" text-anchor="middle">connections</text>"#,
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 10.0
    )?;
    for (&pipeline, dashes) in PIPELINES.iter().zip(DASHES) {
        let mut ends = Vec::new();
        for (contender, (_, colour)) in CONTENDERS.iter().zip(LOOKS) {
            let mut points = String::new();
            for &connections in CONNECTIONS {
                let shape = Shape {
                    connections,
                    pipeline,
                };
                if let Some(rates) = rates(rows, contender, shape) {
                    let height = y(rates.median());
                    write!(points, "{:.1},{height:.1} ", x(connections))?;
                    if connections == CONNECTIONS[CONNECTIONS.len() - 1] {
                        ends.push(height);
                    }
                }
            }
            writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>"#,
                points.trim_end()
            )?;
        }
        if let Some(middle) = ends.iter().copied().reduce(f64::midpoint) {
            let label = match pipeline {
                1 => "one at a time".to_owned(),
                _ => format!("pipelines of {pipeline}"),
            };
            writeln!(
                svg,
                r#"<text x="{:.1}" y="{:.1}">{label}</text>"#,
                WIDTH - RIGHT + 8.0,
                middle + 4.0
            )?;
        }
    }
    writeln!(svg, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Figures;

    #[test]
    fn every_pipeline_has_a_line_for_each_contender() {
        let rows: Vec<Row> = CONTENDERS
            .iter()
            .flat_map(|contender| PIPELINES.iter().map(move |pipeline| (contender, pipeline)))
            .flat_map(|(contender, &pipeline)| {
                CONNECTIONS.iter().map(move |&connections| Row {
                    contender: (*contender).to_owned(),
                    shape: Shape {
                        connections,
                        pipeline,
                    },
                    rates: Figures::from_iter([f64::from(1000 * connections * pipeline)]),
                })
            })
            .collect();
        let svg = scaling(&rows);
        assert_eq!(svg.matches("<polyline").count(), 6);
        let points = svg.split("points=\"").nth(1).expect("there is a line");
        assert_eq!(
            points
                .split('"')
                .next()
                .expect("it ends")
                .split(' ')
                .count(),
            5
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
