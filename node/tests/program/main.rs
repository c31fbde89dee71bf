//! Tests of the program itself, run as a person would run it.

mod common;
mod help;
mod init;
mod metrics;
mod path;
mod refusals;
mod run;
mod top;
