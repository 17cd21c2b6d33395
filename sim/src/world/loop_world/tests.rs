//! The world with scripts in the members' place: streams, cuts, processes, clients, determinism.

mod cluster;
mod links;
mod processes;
mod requests;
mod script;
mod watches;
