//! What the daemon and the supervisor say to each other.
