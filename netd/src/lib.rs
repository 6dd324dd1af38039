//! Netd: connects.
