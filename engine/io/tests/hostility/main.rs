//! Peers that mean harm, over real sockets and both links: what each may cost the others, which is
//! nothing, and that no descriptor is lost over it. A program of its own, whose tests run one by
//! one, because they count what the whole process has.

mod chaos;
#[expect(dead_code, reason = "these tests need a part of what the others share")]
#[path = "../links/common.rs"]
mod common;
mod connections;
mod lossy;
mod namespaces;
mod overload;
mod rates;
mod scene;
