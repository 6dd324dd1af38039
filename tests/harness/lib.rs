//! What the tests stand on: builders, the simulated world, chaos, checks, the lab.
