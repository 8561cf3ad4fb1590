//! The example of somebody else's lock.

#[path = "../../examples/toy_lock.rs"]
mod example;

#[test]
fn a_toy_that_deletes_anybodys_key_is_shown_broken_by_a_simple_plan() {
    let flaw = example::find_a_flaw::<false>().unwrap();
    assert!(flaw.contains("I1 witness"), "{flaw}");
    assert!(flaw.contains("faults: []"), "not simple: {flaw}");
    example::main();
}
