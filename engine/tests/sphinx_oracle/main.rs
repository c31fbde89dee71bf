//! `Peeler` and `Builder` against sphinx-packet 0.8.0, the implementation that the network runs:
//! same bytes out, same route, same delay, same replay tag, same refusals.

mod building;
mod cases;
mod messages;
mod random;
mod replies;
mod versions;
mod world;
