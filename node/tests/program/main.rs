//! Tests of the program itself, run as a person would run it.

mod assigned;
mod clients;
mod common;
mod directory;
mod entry;
mod exit_policy;
mod gateway;
mod help;
mod init;
mod load;
mod metrics;
mod path;
mod refusals;
mod remembering;
mod rotating;
mod run;
mod top;
mod upgrade;
