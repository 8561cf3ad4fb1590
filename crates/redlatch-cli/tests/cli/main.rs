//! The command `redlatch`, as it was built, on real servers.

mod doctor;
mod ending;
mod exclusion;
mod generated;
mod lease;
mod run;
mod secrets;
mod settings;
mod signals;
mod status;
mod support;
mod terminal;
mod usage;
