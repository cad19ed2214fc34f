//! Content-addressed cache of sources, artifacts and manifests.
