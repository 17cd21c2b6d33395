//! Panics of a member: caught at the step, told with their place, and silent otherwise.
//!
//! The standard hook prints every panic; in a sweep a member's panic is a finding, not output. The
//! hook installed here is silent on a thread that said it expects one, and passes all others on.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

static HOOK: Once = Once::new();

/// Runs code that may panic. A panic comes back in words.
pub fn guard<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(install);
    EXPECTED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    EXPECTED.set(false);
    result.map_err(describe)
}

fn install() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if EXPECTED.get() {
            PLACE.set(info.location().map(ToString::to_string).unwrap_or_default());
        } else {
            before(info);
        }
    }));
}

/// A caught panic in words: its message and place.
fn describe(payload: Box<dyn Any + Send>) -> String {
    let message = match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(message) => (*message).to_owned(),
            Err(_) => "a panic without words".to_owned(),
        },
    };
    let place = PLACE.take();
    format!("panicked at {place}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_tells_its_message_and_place() {
        let number = 7;
        let told = guard(|| -> u8 { panic!("no entry {number}") }).expect_err("it panics");
        assert!(told.ends_with(": no entry 7"), "{told}");
        assert!(told.starts_with("panicked at sim/src/world/loop_world/panic.rs:"), "{told}");
        assert_eq!(guard(|| 7), Ok(7));
    }
}
