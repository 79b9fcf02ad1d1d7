//! This room breaks the core on purpose: a simulated cluster whose network, clock and JavaScript are the test's.
//!
//! `application` stands for the façade, `cluster` for the world, `checker` says after every step what must hold,
//! `script` runs the golden scripts of `../scripts/`, and `simulation` runs seeds.

mod application;
mod checker;
mod cluster;
mod script;
mod simulation;
