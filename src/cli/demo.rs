//! `amends demo`: a coordinator with participants beside it, in one process.

pub mod participants;
