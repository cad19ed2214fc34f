//! Calls against each other: memories that are fresh, reused or rewound, and their bounds.

mod bounds;
mod calls;
mod hostile;
mod images;
mod rewind;
mod rewound;
