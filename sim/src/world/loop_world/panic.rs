//! Panics of a member: caught at the step, told with their place, and silent otherwise.
//!
//! The standard hook prints every panic; in a sweep a member's panic is a finding, not output. The
//! hook installed here is silent on a thread that said it expects one, and passes all others on.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

static HOOK: Once = Once::new();

/// Says that the code that follows on this thread may panic, and is caught.
pub fn expect_any() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if EXPECTED.get() {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                PLACE.set(place);
            } else {
                before(info);
            }
        }));
    });
    EXPECTED.set(true);
}

/// Ends what `expect_any` began.
pub fn expect_none() {
    EXPECTED.set(false);
}

/// A caught panic in words: its message and place.
pub fn describe(payload: Box<dyn Any + Send>) -> String {
    expect_none();
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
        expect_any();
        let number = 7;
        let caught = panic::catch_unwind(|| panic!("no entry {number}"));
        let told = describe(caught.expect_err("it panics"));
        assert!(told.ends_with(": no entry 7"), "{told}");
        assert!(told.starts_with("panicked at sim/src/world/loop_world/panic.rs:"), "{told}");
    }
}
