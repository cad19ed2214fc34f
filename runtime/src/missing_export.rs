//! The error of an artifact that lacks what the compiler should have put into it.

/// The artifact lacks what its manifest promises.
#[derive(Debug, thiserror::Error)]
#[error("the artifact has no export {name}, which its manifest promises; compile it again")]
pub struct MissingExport {
    /// The export.
    pub name: String,
}
