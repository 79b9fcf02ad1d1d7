//! Holds what the storage's tests are made of.

pub mod folder;
pub mod model;
