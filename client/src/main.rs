//! The `phix-client` program; all of it is in the library.

use std::process::ExitCode;

/// Of the allocators at hand the one that gives memory back and keeps threads apart.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    phix_client::cli::main()
}
