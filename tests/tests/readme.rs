//! What the README shows is what runs.

use redlatch_tests::Cluster;

const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../crates/redlatch/examples/report.rs");

#[path = "../../crates/redlatch/examples/report.rs"]
#[expect(dead_code, reason = "the example's own entry point reads the environment")]
mod example;

#[test]
fn the_readme_shows_the_example_as_it_is() {
    assert!(README.contains(&format!("```rust\n{EXAMPLE}```")));
}

#[tokio::test]
async fn the_example_runs_on_real_servers() {
    let cluster = Cluster::start(5);
    example::report(&cluster.urls().join(",")).await.unwrap();
    for owner in cluster.owner_of("report") {
        assert_eq!(owner, redlatch_tests::Owner::Nobody);
    }
}
