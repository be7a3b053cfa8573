use super::text::{bytes, grouped, span};
use super::*;
use crate::api::tests::made::{NASTY, at, item, problem, status, step};
use crate::destination::state::Hold;
use crate::reconcile::compare::{Difference, Op, Origin};
use crate::reconcile::status::{FileStatus, HoldStatus, Rewritten, Unmanaged, Word};
use crate::spec::{Diagnostic, Severity, TargetState};

/// A document with a nasty text in every place that takes one.
fn nasty() -> Status {
    let mut one = item(NASTY, Word::Failed);
    one.problems = vec![problem(NASTY, NASTY)];
    one.file = Some(NASTY.into());
    one.plan = step(NASTY, NASTY, None);
    one.warnings = vec![Diagnostic::new("CFG-011", Severity::Warning, NASTY, NASTY).about(NASTY).hint(NASTY)];
    let hold = HoldStatus {
        scope: NASTY.into(),
        hold: Hold { reason: NASTY.into(), by: NASTY.into(), since: at(0), until: Some(at(7_200)) },
    };
    one.hold = Some(hold.clone());
    let flow = one.flow.as_mut().unwrap();
    (flow.path, flow.mode) = (NASTY.into(), NASTY.into());
    flow.source_cluster_id = Some(NASTY.into());
    flow.partitions[0].topic = NASTY.into();
    flow.partitions[0].remote_topic = NASTY.into();
    flow.partitions[0].state = NASTY.into();
    flow.partitions[0].problem = Some(problem(NASTY, NASTY));
    let mut document = status(vec![one]);
    document.instance.environment = NASTY.into();
    document.message = NASTY.into();
    document.problems = vec![problem(NASTY, NASTY)];
    document.plan.hash = NASTY.into();
    document.plan.confirmable = true;
    document.plan.withheld = vec![step(NASTY, NASTY, Some("max-deletes"))];
    document.holds = vec![hold];
    document.files = vec![FileStatus {
        path: NASTY.into(),
        name: None,
        unsupported: false,
        running_last_good: Some(NASTY.into()),
        problems: vec![Diagnostic::new("CFG-014", Severity::Error, NASTY, NASTY).at((12, 5)).about(NASTY)],
    }];
    document.unmanaged = vec![Unmanaged { name: NASTY.into(), state: TargetState::Running, why: NASTY.into() }];
    document.source.url = NASTY.into();
    document.source.reference = Some(NASTY.into());
    document.source.rewritten = Some(Rewritten { from: NASTY.into(), to: NASTY.into(), at: at(0) });
    document.pass.woke = NASTY.into();
    document
}

#[test]
fn no_text_becomes_markup() {
    let document = nasty();
    for page in [whole(&document, at(60), None), single(&document, &document.items[0], at(60), None)] {
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("a\">"), "no attribute ends early");
        assert!(page.contains("a&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)"));
        assert!(page.contains("href=\"/status/a%22%3E%3Cscript%3Ealert%28%271%27%29%3C%2Fscript%3E%5C\""));
        for inline in ["<script", " style=", " onclick", "javascript:", "http://", "src="] {
            assert!(!page.contains(inline), "{inline}");
        }
    }
}

#[test]
fn elements_are_closed_in_order() {
    let document = nasty();
    let page = whole(&document, at(60), None);
    let mut open: Vec<&str> = vec![];
    for tag in page.split('<').skip(1) {
        let name = tag.split([' ', '>', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            _ if matches!(name, "!doctype" | "meta" | "br") => {}
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{page}"),
            None => open.push(name),
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn the_style_is_the_one_that_the_policy_allows() {
    let page = whole(&status(vec![]), at(60), None);
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
    assert!(CONTENT_SECURITY_POLICY.to_str().unwrap().contains(&hash));
}

#[test]
fn the_worst_comes_first_and_is_open() {
    let mut stalled = item("z-stalled", Word::Stalled);
    stalled.problems = vec![problem("MK-STALLED", "nothing acknowledged for 70 s")];
    let document = status(vec![item("a-fine", Word::InSync), stalled]);
    let page = whole(&document, at(60), None);
    assert!(page.find("z-stalled").unwrap() < page.find("a-fine").unwrap());
    assert!(page.contains("<details open><summary><strong>z-stalled"), "{page}");
    assert!(page.contains("<details><summary><strong>a-fine"), "{page}");
    assert!(page.contains("look at &lt;it&gt;"), "the hint");
}

#[test]
fn it_says_how_to_confirm_and_where_a_file_is_wrong() {
    let mut document = status(vec![]);
    document.plan.hash = "0123abcd".into();
    document.plan.confirmable = true;
    document.plan.withheld = vec![step("delete", "b", Some("max-deletes"))];
    let finding = Diagnostic::new("CFG-014", Severity::Error, "x/orders.json", "must be 1 or more").at((12, 5));
    document.files = vec![FileStatus {
        path: "x/orders.json".into(),
        name: None,
        unsupported: false,
        running_last_good: Some("3f1c".into()),
        problems: vec![finding.about("tasks.max")],
    }];
    let page = whole(&document, at(60), Some(0));
    assert!(page.contains("<pre>mirrorkeeper confirm 0123abcd</pre>"));
    assert!(page.contains("x/orders.json:12:5</code> error [CFG-014] <code>tasks.max</code>: must be 1 or more"));
    assert!(page.contains("keeps running as of <code>3f1c</code>"));
    assert!(!page.contains("http-equiv"), "refresh=0 stops it");
    assert!(whole(&document, at(60), Some(1)).contains("http-equiv=\"refresh\" content=\"5\""));
}

#[test]
fn numbers_are_for_people() {
    assert_eq!([span(5), span(65), span(3_700), span(90_000)], ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    assert_eq!([bytes(1_023), bytes(1_536), bytes(u64::MAX)], ["1023 B", "1.5 KiB", "16383.9 PiB"]);
    assert_eq!([grouped(1), grouped(1_000), grouped(1_234_567)], ["1", "1,000", "1,234,567"]);
}

#[test]
fn of_very_many_connectors_only_those_that_are_not_fine_are_told_in_full() {
    let mut items: Vec<Item> = (0..1_000).map(|n| item(&format!("fine-{n}"), Word::InSync)).collect();
    items.extend((0..60).map(|n| item(&format!("bad-{n}"), Word::Failed)));
    let page = whole(&status(items), at(60), None);
    assert_eq!(page.matches("<details").count(), MAX_DETAILS);
    assert!(page.contains("<details open><summary><strong>bad-0</strong>"));
    assert!(!page.contains("<summary><strong>fine-"));
    assert_eq!(page.matches("<tr><th scope=\"row\"><a href=\"/status/").count(), 1_060, "all are in the table");
    assert!(page.contains("1010 more connectors have their details behind their names above"));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn every_cell_has_a_head() {
    let mut drifted = item("a", Word::Drifted);
    drifted.diff = vec![Difference {
        key: "tasks.max".into(),
        op: Op::Add,
        desired: None,
        live: None,
        base: None,
        origin: Origin::Live,
        effect: "hot".into(),
        redacted: false,
    }];
    let page = whole(&status(vec![drifted]), at(60), None);
    assert!(page.matches("<table>").count() == 3, "{page}");
    for table in page.split("<table>").skip(1) {
        let table = table.split("</table>").next().unwrap();
        let columns = table.matches("<th scope=\"col\">").count();
        for row in table.split("<tr>").skip(2) {
            let cells = row.matches("<td ").count() + row.matches("<th scope=\"row\">").count();
            assert_eq!(cells, columns, "{row}");
        }
    }
}
