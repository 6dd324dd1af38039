//! Drills: what is measured while a cluster suffers on purpose, and what is told of it. Pure.
//!
//! Whoever runs a drill (the command line) gives this room pictures of the cluster and answers of its services,
//! each with a time; `watch` says what they show, `report` what comes of it. It begins nothing, asks nobody and
//! looks at no clock.

mod game;
mod html;
mod report;
mod requests;
mod text;
mod trend;
mod watch;

pub use game::{GameDay, StepEnd, StepReport};
pub use html::{game_html, html};
pub use report::{Budget, Headline, Measured, Moment, Report, ServiceReport, Verdict};
pub use requests::{Asked, DoorReport, RequestReport, Requests, Span};
pub use text::text;
pub use trend::{Pace, Past, Trend, trends};
pub use watch::{Picture, ServicePicture, Stage, Watch};
