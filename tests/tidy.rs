//! Style is a test too.
