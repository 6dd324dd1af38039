//! Images on a node: kept by content, unpacked once, laid over each other for each container.
//!
//! What was not verified is never used: a blob gets its name only when its content has that digest, a layer
//! only when its stream had that diff id, an image only when all of it is there. Nothing here decides which
//! image runs: a digest comes in, directories come out.

mod archive;
mod blob;
mod built_in;
mod config;
mod docker;
mod error;
mod fetch;
mod files;
mod import;
mod layer;
mod layout;
mod manifest;
mod name;
mod pour;
mod rootfs;
mod store;
pub mod unpack;

pub use archive::Loaded;
pub use config::ImageConfig;
pub use error::ImageError;
pub use fetch::{BlobStream, Source};
pub use name::familiar;
pub use rootfs::Rootfs;
pub use store::{Held, Store};

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod fetch_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod store_tests;
