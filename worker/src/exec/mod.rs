//! Runs containers: their images, their bundles, their lives.

pub mod image;
