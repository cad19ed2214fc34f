//! The plots of the page.

mod bars;
mod lines;

pub(super) use bars::throughput;
pub(super) use lines::scaling;

/// Colours of text and lines on light and dark pages.
const STYLE: &str = "<style>text { fill: #24292f } .soft { fill: #57606a } line { stroke: #24292f } @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .soft { fill: #9198a1 } line { stroke: #e6edf3 } }</style>";
