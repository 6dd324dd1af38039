//! Manager: decides.
