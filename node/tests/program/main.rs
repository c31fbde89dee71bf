//! Tests of the program itself, run as a person would run it.

mod common;
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
