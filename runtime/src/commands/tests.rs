//! Requests and what they are read as: data.
