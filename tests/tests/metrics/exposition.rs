//! The text that Prometheus scrapes.

use std::collections::{BTreeMap, BTreeSet};

/// All samples of one moment.
pub(crate) struct Exposition(pub(crate) String);

/// One line of it.
pub(crate) struct Sample<'a> {
    /// With `_bucket`, `_sum` or `_count` behind the name of a histogram.
    pub(crate) name: &'a str,
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    value: f64,
}

impl Exposition {
    pub(crate) fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.0.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample)
    }

    /// The sum of the samples of this name that have these labels among theirs.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample<'_>| {
            labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
        };
        let samples = self.samples().filter(|sample| sample.name == name && has(sample));
        samples.map(|sample| sample.value).sum()
    }

    /// What is said of the family `name` in a line that begins with `# KIND`.
    pub(crate) fn said<'a>(&'a self, kind: &str, name: &str) -> Option<&'a str> {
        let start = format!("# {kind} {name} ");
        self.0.lines().find_map(|line| line.strip_prefix(&start))
    }

    /// The names of all families.
    pub(crate) fn families(&self) -> BTreeSet<&str> {
        let types = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).collect()
    }
}

fn sample(line: &str) -> Sample<'_> {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect("the end of the labels");
    let labels = labels.split_terminator(',').map(|label| {
        let (label, value) = label.split_once('=').expect("a label");
        (label, value.trim_matches('"'))
    });
    Sample { name, labels: labels.collect(), value: value.parse().expect("a number") }
}
