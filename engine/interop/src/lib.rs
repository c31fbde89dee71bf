//! Tests of the engine against the published crates of the stock Nym software.
//!
//! There is nothing here but tests. They stand in a package of their own because the stock crates
//! bring some hundreds of dependencies along, which nobody who only works on the engine should
//! have to compile. The package is not a default member of the workspace: name it to build it.
