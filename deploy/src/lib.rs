//! Deploy: from a description to a running release, on the user's side.
