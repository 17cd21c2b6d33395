//! Incidents, read back from the scenario language's words as far as a timeline needs them. Words
//! that are not known are shown and mean nothing.

/// What an incident does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Processes start.
    Start,
    /// Processes are asked to stop and to start again.
    Restart,
    /// A process ended by itself, or because it was asked to.
    Exit,
    /// Processes are killed, or their hosts lose power.
    Down,
    /// Processes are frozen.
    Pause,
    /// They go on.
    Resume,
    /// Links between two sides are cut.
    Cut(String),
    /// Links between two sides are whole again.
    Heal(String),
    /// Every fault ends.
    HealAll,
    /// Links between two sides become as the settings say.
    Link {
        /// The sides.
        sides: String,
        /// The settings, in order.
        settings: String,
    },
    /// A disk's fault: `hang`, `recover`.
    Disk(String),
    /// A clock's fault: `jump=+3s`.
    Clock(String),
    /// Something that takes no time.
    Moment,
}

/// Reads an incident.
pub fn read(what: &str) -> Happening {
    let words: Vec<&str> = what.split_whitespace().collect();
    let Some((verb, rest)) = words.split_first() else { return Happening::Moment };
    if rest.first() == Some(&"exits") {
        return Happening::Exit;
    }
    let plain: Vec<&str> = rest.iter().copied().filter(|word| !word.contains('=')).collect();
    let set: Vec<&str> = rest.iter().copied().filter(|word| word.contains('=')).collect();
    let (sides, settings) = (plain.join(" "), set.join(" "));
    let last = || rest.last().map_or_else(String::new, |word| (*word).to_owned());
    match *verb {
        "start" => Happening::Start,
        "restart" => Happening::Restart,
        "kill" | "power-loss" => Happening::Down,
        "pause" => Happening::Pause,
        "resume" => Happening::Resume,
        "cut" => Happening::Cut(sides),
        "heal" if rest.is_empty() => Happening::HealAll,
        "heal" => Happening::Heal(sides),
        "link" => Happening::Link { sides, settings },
        "disk" => Happening::Disk(last()),
        "clock" => Happening::Clock(last()),
        _ => Happening::Moment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        assert_eq!(read("cut n1 | n2 n3 class=votes"), Happening::Cut("n1 | n2 n3".to_owned()));
        assert_eq!(read("heal n1 | n2 n3"), Happening::Heal("n1 | n2 n3".to_owned()));
        assert_eq!(read("heal"), Happening::HealAll);
        assert_eq!(read("n2 exits code=2 disk failed"), Happening::Exit);
        assert_eq!(
            read("disk n1 n2 sync-latency=20ms"),
            Happening::Disk("sync-latency=20ms".into())
        );
        assert_eq!(read("clock n1 jump=-3s"), Happening::Clock("jump=-3s".to_owned()));
        assert_eq!(read("reset n1 | n2"), Happening::Moment);
        assert_eq!(read(""), Happening::Moment);
    }
}
