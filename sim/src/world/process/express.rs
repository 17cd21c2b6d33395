//! Which statements no run with real processes can carry out, and why: decided from the parsed
//! scenario, before anything is started. What depends on the server's version is its own to say.

use crate::language::ast::{Action, Statement};
use crate::world::{DiskFault, MessageClass};

/// Why the power stays.
pub const POWER: &str = "cut the power: what a process wrote, the operating system keeps";
/// Why all messages pass alike.
pub const CLASSES: &str = "tell messages apart";
/// Why disks do what they should.
pub const DISKS: &str = "make the disk fail: members write to this machine's";
/// Why clocks are right.
pub const CLOCKS: &str = "change clocks: members read this machine's";
const MOMENTS: &str = "kill a process at a chosen moment";
const PROCESSORS: &str = "slow a processor down";

/// What of a statement is impossible here, as a verb phrase.
pub fn obstacle(statement: &Statement) -> Option<&'static str> {
    match statement {
        Statement::Do(action) | Statement::At(_, action) => of_action(action),
        Statement::Nemesis(nemesis) => of_nemesis(&nemesis.kind),
        _ => None,
    }
}

fn of_action(action: &Action) -> Option<&'static str> {
    match action {
        Action::PowerLoss(_) => Some(POWER),
        Action::KillAt(_, Some(_)) => Some(MOMENTS),
        Action::Cut(_, class) if *class != MessageClass::All => Some(CLASSES),
        Action::Clock(..) => Some(CLOCKS),
        Action::Processor(_, step) if !step.is_zero() => Some(PROCESSORS),
        Action::Disk(_, fault) if !changes_files(fault) => Some(DISKS),
        _ => None,
    }
}

/// What is done to files while nobody has them open needs no disk of its own.
fn changes_files(fault: &DiskFault) -> bool {
    matches!(
        fault,
        DiskFault::Recover
            | DiskFault::TearLogTail
            | DiskFault::CorruptLogMiddle
            | DiskFault::Rot
            | DiskFault::Lose(_)
            | DiskFault::Harm(_)
            | DiskFault::Remember
            | DiskFault::RollBack
    )
}

fn of_nemesis(kind: &str) -> Option<&'static str> {
    match kind {
        "messages" => Some(CLASSES),
        "power-loss" => Some(POWER),
        "kill-at" => Some(MOMENTS),
        "slow-processor" => Some(PROCESSORS),
        "hang" | "slow-disk" | "full" | "read-only" | "sync-error" | "write-error"
        | "read-error" | "lies" => Some(DISKS),
        "clock" | "drift" | "strobe" | "freeze" => Some(CLOCKS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse;
    use crate::run::VOCABULARY;

    fn obstacles(statements: &str) -> Vec<Option<&'static str>> {
        let text = format!("cluster n1 n2 n3\n{statements}");
        let script = parse("test", &text, VOCABULARY).expect("it is a script");
        script.statements().skip(1).map(|(_, statement)| obstacle(statement)).collect()
    }

    #[test]
    fn what_no_process_can_be_made_to_do_is_told_from_the_script() {
        let found = obstacles(
            "power-loss n1\nkill-at n1 after=sync\ncut n1 | n2 class=votes\ndisk n1 hang\n\
             clock n1 freeze\nprocessor n1 step=1ms\nnemesis messages\nnemesis lies\n\
             at 1s disk n2 full\nrun 2s\n",
        );
        let why = [POWER, MOMENTS, CLASSES, DISKS, CLOCKS, PROCESSORS, CLASSES, DISKS, DISKS];
        assert_eq!(found, [&why.map(Some)[..], &[None]].concat());
    }

    #[test]
    fn links_signals_and_damaged_files_are_no_obstacle() {
        let found = obstacles(
            "cut n1 | clients\nlink n1 | clients bandwidth=8KB\nhalf-open n1 -> n2\nkill n1\n\
             disk n1 rot\ndisk n1 recover\nkill-at n1 never\nprocessor n1 step=0s\n\
             nemesis lossy\nnemesis clients\nnemesis rot\nput k v\nrun 1s\n",
        );
        assert_eq!(found, [None; 13]);
    }
}
