//! The curves of a run, one below the other.

use std::fmt::Write as _;

use super::sample::Sample;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 110.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 24.0;

/// Draws the curves of all samples; each starts at zero.
pub(super) fn draw(samples: &[Sample]) -> String {
    let height = Sample::CURVES.len() as f64 * (HEIGHT + TOP) + 30.0;
    let end = samples.last().map_or(1.0, |sample| sample.seconds.max(1.0));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (index, (name, value, _)) in Sample::CURVES.into_iter().enumerate() {
        let bottom = (index + 1) as f64 * (HEIGHT + TOP);
        let most = samples.iter().map(value).fold(1.0, f64::max);
        let points: String = samples
            .iter()
            .map(|sample| {
                let x = LEFT + sample.seconds / end * (WIDTH - LEFT - RIGHT);
                let y = bottom - value(sample) / most * HEIGHT;
                format!("{x:.1},{y:.1} ")
            })
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"4\" y=\"{:.1}\">{name}</text><text x=\"4\" y=\"{:.1}\" fill=\"#666\">most {most:.0}</text>\n<path d=\"M{LEFT} {bottom:.1}H{:.1}\" stroke=\"#ccc\"/><polyline points=\"{points}\" fill=\"none\" stroke=\"#1b5e91\"/>",
            bottom - HEIGHT + 12.0,
            bottom - HEIGHT + 28.0,
            WIDTH - RIGHT,
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#666\">{:.0} minutes</text>\n</svg>",
        height - 8.0,
        end / 60.0
    );
    svg
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::draw;
    use crate::hardening::soak::sample::Sample;

    #[test]
    fn every_curve_is_drawn() {
        let samples: Vec<Sample> = (1..=3)
            .map(|second| {
                Sample::take(std::process::id(), Duration::from_secs(second), second)
                    .expect("this process runs")
            })
            .collect();
        let svg = draw(&samples);
        assert_eq!(svg.matches("<polyline").count(), Sample::CURVES.len());
        assert!(svg.ends_with("</svg>\n"), "{svg}");
    }
}
