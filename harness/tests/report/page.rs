//! The page as a file: how large, and what is not in it.

use redlatch_harness::check::{Invariant, Violation};
use redlatch_harness::history::{Asked, History, Process, What};
use redlatch_harness::report::{Case, Effect, Fault, PAGE_BYTES_MAX, timeline_html, timeline_svg};

use crate::picture::{steps, texts};
use crate::stories::{C0, MS, Story, everything, long, shape, unbacked, untimed};

fn violated(case: Case) -> Case {
    let last = case.history.events().last().expect("something happened");
    let violation = Violation {
        invariant: Invariant::Progress,
        time: last.time,
        client: None,
        story: "it stops here".to_owned(),
    };
    Case { violation: Some(violation), ..case }
}

#[test]
fn a_page_stays_small_however_long_the_history_is() {
    for rounds in [1, 30, 300, 10_000] {
        for case in [long(rounds), violated(long(rounds))] {
            let page = timeline_html(&case);
            assert!(page.len() <= PAGE_BYTES_MAX, "{rounds} rounds: {} bytes", page.len());
            let is_part = page.contains("This run is long");
            assert_eq!(is_part, rounds > 30, "{rounds} rounds");
            // What is drawn of a long one is no less than fits.
            assert!(
                !is_part || page.len() > PAGE_BYTES_MAX / 2,
                "{rounds} rounds: {} bytes",
                page.len()
            );
            assert!(is_part || steps(&page).iter().any(|step| step.contains("asks for the lock")));
        }
    }
}

#[test]
fn a_page_about_one_moment_stays_small_as_well() {
    let mut story = Story::new();
    for _ in 0..50_000 {
        story.send(MS, C0, Asked::Acquire, 0);
        story.node(MS, 0, What::Key { resource: 0, owner: Some(C0), until: 9 * MS });
        story.node(MS, 0, What::Key { resource: 0, owner: None, until: 0 });
        story.node(MS, 0, What::Clock { ahead: 0, ppm: 1 });
        story.client(MS, 0, What::AtRisk);
    }
    let page =
        timeline_html(&Case { shape: shape(1, 1), history: story.history, ..Case::default() });
    assert!(page.len() <= PAGE_BYTES_MAX, "{} bytes", page.len());
}

#[test]
fn a_page_stays_small_whatever_the_words_are() {
    let words = "<&> ".repeat(100_000);
    let mut case = unbacked();
    for text in [&mut case.tier, &mut case.title, &mut case.replay] {
        text.clone_from(&words);
    }
    case.commit = Some(words.clone());
    case.story = vec![words.clone(); 50];
    let fault = Fault { who: Vec::new(), text: words.clone(), effect: Effect::Lasts };
    case.shape.faults = vec![fault; 2_000];
    case.shape.nodes = 255;
    case.shape.clients = 255;
    for at in 0..2_000 {
        case.history.note(81 * MS, Process::Harness, What::FaultBegan { fault: at });
    }
    if let Some(violation) = &mut case.violation {
        violation.story = words;
        violation.client = None;
    }
    let page = timeline_html(&case);
    assert!(page.len() <= PAGE_BYTES_MAX, "{} bytes", page.len());
}

#[test]
fn a_long_history_is_told_up_to_its_end() {
    let mut case = violated(long(3_000));
    let last = |case: &Case| steps(&timeline_html(case)).last().cloned();
    assert_eq!(last(&case).as_deref(), Some("it stops here"), "although no event says so");
    let time = case.violation.as_ref().map_or(0, |violation| violation.time);
    let what = What::Violated { invariant: Invariant::Progress };
    case.history.note(time, Process::Harness, what);
    assert_eq!(last(&case).as_deref(), Some("it stops here"));
    let told = steps(&timeline_html(&case));
    assert_eq!(told.iter().filter(|step| *step == "it stops here").count(), 1);
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    for case in [unbacked(), everything(), untimed(), long(100)] {
        let (page, picture) = (timeline_html(&case), timeline_svg(&case));
        assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none';"));
        for text in [page, picture] {
            let rest = text.replace("http://www.w3.org/2000/svg", "");
            for loads in
                ["http:", "https:", "//cdn", "src=", "@import", "@font-face", "<link", "fetch("]
            {
                assert!(!rest.contains(loads), "{loads}");
            }
            for place in rest.match_indices("url(").map(|(place, _)| place) {
                assert!(rest[place..].starts_with("url(#"), "{}", &rest[place..place + 40]);
            }
        }
    }
}

#[test]
fn a_still_picture_needs_neither_variables_nor_a_script() {
    let picture = timeline_svg(&everything());
    assert!(!picture.contains("var(--") && !picture.contains("<script"));
    assert!(picture.contains("prefers-color-scheme:dark"));
}

#[test]
fn nothing_from_data_is_markup() {
    let evil = "</title></style></script><script>window.evil=1</script><img src=x onerror=evil()>\"'&\u{0}\u{1b}";
    let case = evil_case(evil);
    let (page, picture) = (timeline_html(&case), timeline_svg(&case));
    for text in [&page, &picture] {
        assert!(!text.contains("<script>window") && !text.contains("<img"), "{text}");
        assert!(!text.contains(['\u{0}', '\u{1b}']));
        assert!(text.contains("&lt;script&gt;window.evil=1&lt;/script&gt;"));
    }
    assert_eq!(page.matches("<script").count(), 1);
    // It is XML, whatever was put in.
    assert!(texts(&picture).iter().any(|text| text.contains("<script>window.evil=1</script>")));
    assert!(steps(&page).iter().any(|step| step.contains("<img src=x onerror=evil()>")));
}

/// A case in which everything that can be is `evil`.
pub(crate) fn evil_case(evil: &str) -> Case {
    let mut case = unbacked();
    for text in [&mut case.tier, &mut case.title, &mut case.replay] {
        evil.clone_into(text);
    }
    case.commit = Some(evil.to_owned());
    case.plan = Some(evil.to_owned());
    case.story = vec![evil.to_owned()];
    for fault in &mut case.shape.faults {
        evil.clone_into(&mut fault.text);
    }
    if let Some(violation) = &mut case.violation {
        evil.clone_into(&mut violation.story);
        violation.client = None;
    }
    case
}

#[test]
fn a_case_without_a_history_tells_its_story() {
    let story = vec!["c0 asks".to_owned(), "n0 says no".to_owned()];
    let case = Case { shape: shape(3, 2), story, ..violated(unbacked()) };
    let case = Case { history: History::default(), ..case };
    let page = timeline_html(&case);
    let told = steps(&page).join(" ");
    assert!(told.contains("c0 asks") && told.contains("n0 says no"), "{told}");
    assert!(!page.contains("<svg id=\"timeline\""));
    texts(&timeline_svg(&case));
}

#[test]
fn a_case_that_says_nothing_is_no_trouble() {
    let case = Case::default();
    assert!(timeline_html(&case).contains("Nothing is violated."));
    texts(&timeline_svg(&case));
}
