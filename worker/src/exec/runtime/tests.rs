//! Containers made for real: this needs root, and leaves nothing behind.

mod further;
mod isolation;
mod life;
mod options;
mod outlive;
mod rig;

use super::*;
