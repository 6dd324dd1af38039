//! Worker: obeys.
