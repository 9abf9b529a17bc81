//! The core, driven by arbitrary histories and by tables.

mod histories;
mod model;
mod scenarios;
