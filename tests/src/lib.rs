//! Black-box tests of the command lines, the scenarios and the formats; they live beside this file.

pub mod peers;

#[cfg(test)]
mod backend;
#[cfg(test)]
mod bolt;

#[cfg(test)]
mod damage;

#[cfg(test)]
mod database;

#[cfg(test)]
mod driven;

#[cfg(test)]
mod hex;

#[cfg(test)]
mod mapped;

#[cfg(test)]
mod process_world;

#[cfg(test)]
mod scenarios;

#[cfg(test)]
mod tidy;

#[cfg(test)]
mod wal;
