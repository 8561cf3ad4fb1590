//! What the picture says, word for word.
//!
//! `REWRITE=1 cargo test -p redlatch-harness --test report` writes the files in `pictures/` anew.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use redlatch_harness::check::{Invariant, Violation};
use redlatch_harness::history::What;
use redlatch_harness::report::{Case, timeline_html, timeline_svg};

use crate::stories::{C0, MS, Story, everything, shape, unbacked, untimed};

/// All texts of some XML, each with the class of its element; tooltips follow what they are about.
pub(crate) fn texts(xml: &str) -> Vec<String> {
    read(xml).unwrap_or_else(|error| panic!("{error}:\n{xml}"))
}

fn read(xml: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut reader = Reader::from_str(xml);
    let mut texts = Vec::new();
    let mut classes: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event()? {
            Event::Start(element) => {
                flush(&mut texts, &classes, &mut text);
                let class = element.try_get_attribute("class")?;
                let class = class.map_or_else(Vec::new, |class| class.value.to_vec());
                let is_style = element.name().as_ref() == b"style";
                classes.push(if is_style { STYLE.to_owned() } else { String::from_utf8(class)? });
            }
            Event::End(_) => {
                flush(&mut texts, &classes, &mut text);
                classes.pop();
            }
            Event::Text(part) => text.push_str(&part.decode()?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref()? {
                Some(character) => text.push(character),
                None => {
                    let known = resolve_predefined_entity(&reference.decode()?);
                    text.push_str(known.ok_or("an entity that XML does not have")?);
                }
            },
            Event::Eof => break,
            Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
    assert!(classes.is_empty(), "everything is closed");
    Ok(texts)
}

/// Stands for the class of what is no text for people.
const STYLE: &str = "style";

fn flush(texts: &mut Vec<String>, classes: &[String], text: &mut String) {
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.clear();
    if said.is_empty() || classes.last().is_some_and(|class| class == STYLE) {
        return;
    }
    let class = classes.iter().rev().find(|class| !class.is_empty());
    texts.push(format!("{:12} | {said}", class.map_or("", String::as_str)));
}

/// The list of steps of a page.
pub(crate) fn steps(html: &str) -> Vec<String> {
    let begin = html.find("<ol>").expect("there is a list");
    let end = html.find("</ol>").expect("it ends");
    let list = &html[begin..end + "</ol>".len()];
    texts(list).iter().map(|line| line.rsplit(" | ").next().unwrap_or("").to_owned()).collect()
}

/// Compares with a file, or writes it.
fn is_told(name: &str, case: &Case) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/report/pictures")
        .join(name)
        .with_extension("txt");
    let svg = texts(&timeline_svg(case)).join("\n");
    let steps = steps(&timeline_html(case)).join("\n");
    let now = format!("{svg}\n\nstep by step\n\n{steps}\n");
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&path, now).expect("it can be written");
        return;
    }
    let before =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(before == now, "if this is right, REWRITE=1 writes it to {}:\n{now}", path.display());
}

#[test]
fn a_believer_without_a_majority_is_told() {
    is_told("unbacked", &unbacked());
}

#[test]
fn everything_that_can_happen_is_told() {
    is_told("everything", &everything());
}

#[test]
fn a_story_without_time_is_told() {
    is_told("untimed", &untimed());
}

/// A case with one grant to each of the clients 0 and 1, and this violation at the second.
fn two_grants(invariant: Invariant, fences: (u64, u64)) -> Case {
    let mut story = Story::new();
    let other = crate::stories::C1;
    story.client(MS, 0, What::Acquire { resource: 0, acquire: 1 });
    story.client(2 * MS, 0, What::Granted { token: C0, fence: fences.0, until: 90 * MS });
    story.client(3 * MS, 1, What::Acquire { resource: 0, acquire: 1 });
    story.client(4 * MS, 1, What::Granted { token: other, fence: fences.1, until: 95 * MS });
    let violation = Violation {
        invariant,
        time: 4 * MS,
        client: Some(1),
        story: "as the checker has it".to_owned(),
    };
    Case {
        shape: shape(3, 2),
        history: story.history,
        violation: Some(violation),
        ..Case::default()
    }
}

#[test]
fn the_violation_is_one_plain_sentence() {
    let table = [
        (
            Invariant::Witness,
            (8, 9),
            "c1 believes it holds the lock until 95 ms, but no node keeps its key; 2 of 3 must.",
        ),
        (
            Invariant::Mutex,
            (8, 9),
            "c1 is granted the lock while c0 believes it holds it until 90 ms: two holders at once.",
        ),
        (
            Invariant::FenceUnique,
            (8, 8),
            "c1 is granted the lock with fence 8, which c0 was given before: the resource cannot tell \
             the two apart.",
        ),
        (
            Invariant::FenceOrder,
            (8, 7),
            "c1 is granted the lock with fence 7, although c0 had been granted fence 8 before c1 asked: \
             the resource will refuse the new holder.",
        ),
        (
            Invariant::HoldOrder,
            (8, 7),
            "c1 believes it holds the lock with fence 7, but c0 was granted fence 8, which is as new or \
             newer.",
        ),
        (
            Invariant::LeaseSound,
            (8, 9),
            "c1 believes it holds the lock until 95 ms, but a majority of the nodes, 2 of 3, will not \
             keep its key for that long.",
        ),
        (Invariant::Progress, (8, 9), "as the checker has it"),
    ];
    for (invariant, fences, sentence) in table {
        let svg = timeline_svg(&two_grants(invariant, fences));
        assert_eq!(texts(&svg)[0].trim_start_matches([' ', '|']), sentence, "{invariant}");
    }
}

#[test]
fn an_invariant_that_has_no_sentence_of_its_own_has_the_checkers() {
    for invariant in Invariant::ALL {
        let mut case = two_grants(invariant, (8, 9));
        if let Some(violation) = &mut case.violation {
            violation.client = None;
        }
        let html = timeline_html(&case);
        assert!(html.contains("<h1 class=\"bad\" id=\"sentence\">as the checker has it</h1>"));
        assert!(html.contains(&invariant.to_string()), "{invariant}");
    }
}

/// What the tooltips say of the key of `n0`.
fn key_of_n0(story: Story) -> Vec<String> {
    let case = Case { shape: shape(1, 1), history: story.history, ..Case::default() };
    let texts = texts(&timeline_svg(&case));
    let said = texts.iter().filter_map(|text| text.split_once(" | "));
    said.filter(|(_, said)| said.starts_with("n0: the key is"))
        .map(|(_, said)| said.to_owned())
        .collect()
}

#[test]
fn a_clock_that_changes_moves_the_end_of_a_key() {
    let clock = |ahead_ms: i64, ppm| What::Clock { ahead: ahead_ms * MS as i64, ppm };
    let key = |until| What::Key { resource: 0, owner: Some(C0), until };
    // Twice as fast from the middle on; a jump of 20 ms; standing still.
    let table = [
        (vec![(0, clock(0, 0)), (50, clock(0, 1_000_000))], "0.000 to 75.000 ms"),
        (vec![(0, clock(7, 0)), (50, clock(27, 0))], "0.000 to 80.000 ms"),
        (vec![(0, clock(0, 0)), (50, clock(0, -1_000_000))], "from 0.000 ms on"),
        // Without a first reading nobody knows what was a jump.
        (vec![(50, clock(27, 0))], "0.000 to 100.000 ms"),
    ];
    for (changes, expected) in table {
        let mut story = Story::new();
        story.node(0, 0, key(100 * MS));
        for (at, what) in changes {
            story.node(at * MS, 0, what);
        }
        story.client(200 * MS, 0, What::Failed);
        let said = key_of_n0(story);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains(expected), "{said:?}");
    }
}
