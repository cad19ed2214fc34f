//! Replies a second, a group of bars for each workload.

use std::fmt::Write as _;

use super::STYLE;
use crate::bench::figures::{Figures, Rate};
use crate::bench::socket::{PIPELINED, Socket};

/// The workloads of the plot, with their labels.
const WORKLOADS: &[(&str, &str)] = &[
    ("noop", "no-op"),
    ("get_set", "get + set"),
    ("rate_limit", "rate limit"),
    ("validate_user", "validate user"),
];

/// The contenders from the top, with labels and colours. The colours differ in lightness too.
const CONTENDERS: &[(&str, &str, &str)] = &[
    ("reuse", "wasm, reuse", "#1b5e91"),
    ("rewind", "wasm, rewind", "#2f7fb8"),
    ("fresh", "wasm, fresh", "#62a9d8"),
    ("lua", "Lua in Valkey", "#e0963c"),
];

const WIDTH: f64 = 760.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 56.0;
const BAR: f64 = 20.0;
const GAP: f64 = 22.0;

/// Draws the plot. Contenders without figures for a workload are left out.
pub(in crate::bench) fn throughput(socket: &Socket) -> String {
    let groups: Vec<(&str, Vec<Bar<'_>>)> = WORKLOADS
        .iter()
        .map(|(workload, title)| {
            let bar = |(contender, label, colour): &(&str, &'static str, &'static str)| {
                let rates = socket.rates(workload, contender, PIPELINED)?;
                Some(Bar {
                    label,
                    colour,
                    rates,
                })
            };
            (*title, CONTENDERS.iter().filter_map(bar).collect())
        })
        .collect();
    let bars = groups.iter().flat_map(|(_, bars)| bars);
    let most = bars.clone().map(|bar| bar.rates.high()).fold(1.0, f64::max);
    let height = TOP
        + groups
            .iter()
            .map(|(_, bars)| bars.len() as f64 * BAR + GAP)
            .sum::<f64>()
        + 8.0;
    let scale = (WIDTH - LEFT - RIGHT) / most;

    let mut svg = String::new();
    let _ = draw(&mut svg, &groups, height, scale);
    svg
}

struct Bar<'a> {
    label: &'static str,
    colour: &'static str,
    rates: &'a Figures,
}

/// Writing to a string cannot fail; the result is that of `write!`.
fn draw(
    svg: &mut String,
    groups: &[(&str, Vec<Bar<'_>>)],
    height: f64,
    scale: f64,
) -> std::fmt::Result {
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13">"#
    )?;
    writeln!(svg, "{STYLE}")?;
    writeln!(
        svg,
        r#"<text x="{LEFT}" y="20" font-weight="600">Calls a second, 50 connections, pipelines of 16</text>"#
    )?;
    let mut at = LEFT;
    for (contender, label, colour) in CONTENDERS {
        if groups
            .iter()
            .any(|(_, bars)| bars.iter().any(|bar| bar.label == *label))
        {
            writeln!(
                svg,
                r#"<rect x="{at}" y="32" width="11" height="11" fill="{colour}"/><text class="soft" x="{}" y="42">{label}</text>"#,
                at + 16.0
            )?;
            at += if *contender == "lua" { 130.0 } else { 115.0 };
        }
    }
    let mut y = TOP;
    for (title, bars) in groups {
        let middle = y + bars.len() as f64 * BAR / 2.0 + 5.0;
        writeln!(
            svg,
            r#"<text x="{}" y="{middle}" text-anchor="end" font-weight="600">{title}</text>"#,
            LEFT - 10.0
        )?;
        for bar in bars {
            let rate = bar.rates.median();
            let (low, high) = (
                LEFT + bar.rates.low() * scale,
                LEFT + bar.rates.high() * scale,
            );
            let line = y + (BAR - 3.0) / 2.0;
            writeln!(
                svg,
                r#"<rect x="{LEFT}" y="{y}" width="{:.1}" height="{}" fill="{}"/>"#,
                rate * scale,
                BAR - 3.0,
                bar.colour
            )?;
            writeln!(
                svg,
                r#"<line x1="{low:.1}" x2="{high:.1}" y1="{line}" y2="{line}" stroke-width="1.5"/>"#
            )?;
            writeln!(
                svg,
                r#"<text class="soft" x="{:.1}" y="{}">{}</text>"#,
                high + 7.0,
                y + 13.0,
                Rate(rate)
            )?;
            y += BAR;
        }
        y += GAP;
    }
    writeln!(svg, "</svg>")
}
