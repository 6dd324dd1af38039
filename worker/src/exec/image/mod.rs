//! Images on a node: kept by content, unpacked once, laid over each other for each container.
//!
//! What was not verified is never used: a blob gets its name only when its content has that digest, a layer
//! only when its stream had that diff id, an image only when all of it is there. Nothing here decides which
//! image runs: a digest comes in, directories come out.

mod archive;
mod blob;
mod built_in;
mod config;
mod describe;
mod docker;
mod error;
mod fetch;
mod files;
mod implied;
mod import;
mod keep;
mod layer;
mod layout;
mod manifest;
mod names;
mod pour;
mod progress;
pub mod registry;
mod rootfs;
mod save;
mod store;
pub mod unpack;

pub use archive::Loaded;
pub use config::ImageConfig;
pub use describe::{DiskUse, Step};
pub use error::ImageError;
pub use fetch::{BlobStream, Source, Wanted};
pub use keep::Collected;
pub use progress::{LayerState, Progress};
pub use rootfs::Rootfs;
pub use skep_proto::image::familiar;
pub use store::{Held, Store};

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fetch_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod store_tests;
