//! `mirrorkeeper demo`, as a user runs it.

#![expect(clippy::disallowed_methods, reason = "a test of the program runs the program")]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Twenty seconds are promised on a quiet machine; tests share theirs.
const AT_MOST: Duration = Duration::from_secs(120);

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorkeeper"));
    // A user's own settings are not the demo's.
    command.arg("demo").args(arguments).env("MIRRORKEEPER_REPO", "/nowhere").env("MIRRORKEEPER_DRIFT", "off");
    let began = Instant::now();
    let output = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{why}", output.status);
    assert!(began.elapsed() < AT_MOST, "{:?}", began.elapsed());
    output
}

#[test]
fn the_demo_tells_seven_steps_and_both_sides_are_equal() {
    let output = demo(&[]);
    let said = String::from_utf8(output.stdout).expect("text");
    let position = |needle: &str| said.find(needle).unwrap_or_else(|| panic!("{needle:?} is missing in\n{said}"));
    let promised = [
        "1. ",
        "first record on the target",
        "orders InSync, Healthy, lag 0",
        "2. ",
        "effect hot",
        "nothing was restarted",
        "3. ",
        "payments.json:3:3: CFG-002",
        "payments Invalid, Healthy",
        "4. ",
        "resumed (history",
        "payments Drifted: state stopped, Git says running, origin live",
        "5. ",
        "Blocked, Healthy; guard empty-source",
        "6. ",
        "is kept",
        "7. ",
        "kill -9",
        "0 records lost, 0 repeated",
        "\nEQUAL ",
        "next: ",
    ];
    let places = promised.map(position);
    assert!(places.is_sorted(), "the steps are out of order:\n{said}");
    assert!(!said.contains('\u{1b}'), "colour or a spinner in a pipe:\n{said}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
