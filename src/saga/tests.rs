//! The core, driven by arbitrary histories and by tables.

mod held;
mod histories;
mod model;
mod replies;
mod scenarios;
