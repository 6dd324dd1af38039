//! Compose files: what each key becomes, what is refused and how, what `config` prints.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where an expectation is broken"
)]

#[path = "compose/desk.rs"]
mod desk;
#[path = "compose/examples.rs"]
mod examples;
#[path = "compose/interpolation.rs"]
mod interpolation;
#[path = "compose/merging.rs"]
mod merging;
#[path = "compose/plans.rs"]
mod plans;
#[path = "compose/refused.rs"]
mod refused;
#[path = "compose/services.rs"]
mod services;
#[path = "compose/shared.rs"]
mod shared;
