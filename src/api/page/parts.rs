//! The parts of the page, in the order in which somebody who was woken up wants them.

use jiff::Timestamp;

use super::text::{Page, bytes, grouped, span};
use crate::engine::{FlowReport, Problem};
use crate::reconcile::compare::{Difference, Origin};
use crate::reconcile::status::{Item, PlannedStep, Status, Word};
use crate::spec::Diagnostic;

/// Partitions that are listed for one connector; the document has all.
const MAX_ROWS: usize = 200;

/// Who speaks, and the worst that is true.
pub(super) fn header(page: &mut Page, status: &Status, now: Timestamp) {
    let instance = &status.instance;
    page.raw("<header>\n<h1>").text(&instance.environment).raw(" / ").text(&instance.destination);
    if !instance.sources.is_empty() {
        page.raw(" (").text(&instance.sources.join(", ")).raw(")");
    }
    page.raw(" ").mark(&status.state).raw("</h1>\n<p>").text(&status.message).raw("</p>\n");
    problems(page, &status.problems, now);
    if let Some(problem) = &status.source.problem {
        problems(page, std::slice::from_ref(problem), now);
    }
    page.raw("</header>\n");
}

fn problems(page: &mut Page, problems: &[Problem], now: Timestamp) {
    if problems.is_empty() {
        return;
    }
    page.raw("<ul>\n");
    for problem in problems {
        page.raw("<li><strong class=\"bad\">").text(&problem.code).raw("</strong> ").text(&problem.message);
        page.raw(" (").time(problem.since, now).raw(")");
        hint(page, problem.hint.as_deref());
        page.raw("</li>\n");
    }
    page.raw("</ul>\n");
}

fn hint(page: &mut Page, hint: Option<&str>) {
    if let Some(hint) = hint {
        page.raw("<br><span class=\"hint\">").text(hint).raw("</span>");
    }
}

/// What is to be done, what is withheld, and how to let it go.
pub(super) fn plan(page: &mut Page, status: &Status) {
    let plan = &status.plan;
    if plan.steps.is_empty() && plan.withheld.is_empty() {
        return;
    }
    page.raw("<h2 id=\"plan\">Plan <code>").text(&plan.hash).raw("</code></h2>\n<ul>\n");
    for step in &plan.steps {
        planned(page, step, "");
    }
    for step in &plan.withheld {
        planned(page, step, "withheld: ");
    }
    page.raw("</ul>\n");
    if plan.confirmable {
        page.raw("<p>To let go what waits for a confirmation:</p>\n<pre>mirrorkeeper confirm ");
        page.text(&plan.hash).raw("</pre>\n");
    }
}

fn planned(page: &mut Page, step: &PlannedStep, prefix: &'static str) {
    page.raw("<li>").raw(prefix).raw("<strong>").text(&step.action).raw("</strong> ").text(&step.name);
    page.raw(": ").text(&step.why);
    estimate(page, step);
    page.raw("</li>\n");
}

fn estimate(page: &mut Page, step: &PlannedStep) {
    let Some(estimate) = &step.estimate else { return };
    page.raw("<br><span class=\"warn\">copies about ").text(&grouped(estimate.records)).raw(" records");
    if let Some(number) = estimate.bytes {
        page.raw(", ").text(&bytes(number)).raw(",");
    }
    page.raw(" from ").text(&estimate.topics.len().to_string()).raw(" topics</span>");
}

/// Files that can't be used, and what is odd in the repository.
pub(super) fn files(page: &mut Page, status: &Status) {
    if !status.files.is_empty() {
        page.raw("<h2 id=\"files\">Invalid files</h2>\n");
    }
    for file in &status.files {
        page.raw("<details open><summary><code>").text(&file.path).raw("</code> ");
        page.raw(if file.unsupported { "<span class=\"mark bad\">unsupported</span>" } else { "" });
        if let Some(revision) = &file.running_last_good {
            page.raw(" (keeps running as of <code>").text(revision).raw("</code>)");
        }
        page.raw("</summary>\n");
        findings(page, &file.problems);
        page.raw("</details>\n");
    }
    if !status.warnings.is_empty() {
        page.raw("<h2>Warnings</h2>\n");
        findings(page, &status.warnings);
    }
}

fn findings(page: &mut Page, findings: &[Diagnostic]) {
    if findings.is_empty() {
        return;
    }
    page.raw("<ul>\n");
    for finding in findings {
        let place = format!("{}:{}:{}", finding.path, finding.line, finding.column);
        page.raw("<li><code>").text(&place).raw("</code> ").word(&finding.severity);
        page.raw(" [").text(finding.code).raw("] ");
        if let Some(key) = &finding.key {
            page.raw("<code>").text(key).raw("</code>: ");
        }
        page.text(&finding.message);
        hint(page, finding.hint.as_deref());
        page.raw("</li>\n");
    }
    page.raw("</ul>\n");
}

/// What somebody asked to leave alone.
pub(super) fn holds(page: &mut Page, status: &Status, now: Timestamp) {
    if status.holds.is_empty() {
        return;
    }
    page.raw("<h2 id=\"holds\">Holds</h2>\n<ul>\n");
    for hold in &status.holds {
        page.raw("<li><strong>").text(&hold.scope).raw("</strong> held by ").text(&hold.hold.by).raw(" (");
        page.time(hold.hold.since, now).raw(", ends ");
        match hold.hold.until {
            Some(until) => page.time(until, now),
            None => page.raw("when it is released"),
        };
        page.raw("): ").text(&hold.hold.reason).raw("</li>\n");
    }
    page.raw("</ul>\n");
}

/// One line for each connector.
pub(super) fn overview(page: &mut Page, items: &[&Item], now: Timestamp) {
    if items.is_empty() {
        page.raw("<p>No connector yet.</p>\n");
        return;
    }
    page.raw("<h2 id=\"connectors\">Connectors</h2>\n<table>\n");
    head(page, &["Connector", "Sync", "Health", "Lag", "Oldest not copied", "Last acknowledged", "Rate"]);
    for item in items {
        page.raw("<tr><th scope=\"row\"><a href=\"/status/").segment(&item.name).raw("\">");
        page.text(&item.name).raw("</a></th><td data-l=\"Sync\">").mark(&item.sync);
        page.raw("</td><td data-l=\"Health\">").mark(&item.health).raw("</td><td class=\"n\" data-l=\"Lag\">");
        known(page, item.lag_records.map(grouped));
        page.raw("</td><td class=\"n\" data-l=\"Oldest not copied\">");
        known(page, item.oldest_uncopied_ms.map(|ms| if ms == 0 { "-".to_owned() } else { span(ms / 1_000) }));
        page.raw("</td><td data-l=\"Last acknowledged\">");
        match item.last_acknowledged {
            Some(at) => page.time(at, now),
            None => page.raw("never"),
        };
        page.raw("</td><td class=\"n\" data-l=\"Rate\">");
        known(page, item.bytes_per_second.map(|number| format!("{}/s", bytes(number))));
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table>\n");
}

/// The head of a table, and the start of its body.
fn head(page: &mut Page, columns: &[&'static str]) {
    page.raw("<thead><tr>");
    for column in columns {
        page.raw("<th scope=\"col\">").raw(column).raw("</th>");
    }
    page.raw("</tr></thead>\n<tbody>\n");
}

fn known(page: &mut Page, value: Option<String>) {
    match value {
        Some(value) => page.text(&value),
        None => page.raw("unknown"),
    };
}

/// Whether nobody has to look at it.
pub(super) fn is_fine(item: &Item) -> bool {
    matches!(item.summary, Word::InSync | Word::Paused | Word::Starting | Word::Held | Word::Standby)
}

/// All about one connector; open where something is wrong.
pub(super) fn details(page: &mut Page, item: &Item, now: Timestamp, open: bool) {
    page.raw(if open || !is_fine(item) { "<details open>" } else { "<details>" });
    page.raw("<summary><strong>").text(&item.name).raw("</strong> ").mark(&item.summary);
    if let Some(problem) = item.problems.first() {
        page.raw(" ").text(&problem.message);
    }
    page.raw("</summary>\n");
    problems(page, &item.problems, now);
    facts(page, item, now);
    differences(page, &item.diff);
    findings(page, &item.warnings);
    if let Some(flow) = &item.flow {
        partitions(page, flow);
    }
    page.raw("</details>\n");
}

fn facts(page: &mut Page, item: &Item, now: Timestamp) {
    page.raw("<dl>\n");
    fact(page, "file", item.file.as_deref());
    let state = |state: Option<crate::spec::TargetState>| state.map_or("nothing", crate::spec::TargetState::as_str);
    let states = format!("Git says {}, in force is {}", state(item.state.desired), state(item.state.live));
    fact(page, "state", Some(&states));
    page.raw("<dt>plan</dt><dd>").text(&item.plan.action).raw(": ").text(&item.plan.why);
    estimate(page, &item.plan);
    page.raw("</dd>\n");
    if let Some(applied) = &item.applied {
        page.raw("<dt>applied</dt><dd><code>")
            .text(&applied.revision)
            .raw("</code> ")
            .time(applied.at, now)
            .raw("</dd>\n");
    }
    if let Some(hold) = &item.hold {
        page.raw("<dt>hold</dt><dd>by ").text(&hold.hold.by).raw(": ").text(&hold.hold.reason).raw("</dd>\n");
    }
    if item.retries > 0 {
        page.raw("<dt>failed attempts</dt><dd>").text(&item.retries.to_string());
        if let Some(next) = item.next_attempt {
            page.raw(", the next ").time(next, now);
        }
        page.raw("</dd>\n");
    }
    if let Some(flow) = &item.flow {
        fact(page, "path", Some(&flow.path));
        fact(page, "writes", Some(&flow.mode));
        let copied = format!("{} records, {}", grouped(flow.records_total), bytes(flow.bytes_total));
        page.raw("<dt>copied</dt><dd>").text(&copied).raw("; this run since ").time(flow.started, now).raw("</dd>\n");
        if flow.lost_records > 0 {
            fact(page, "lost at the source", Some(&format!("{} records", grouped(flow.lost_records))));
        }
        if flow.throttled_ms > 0 {
            fact(page, "throttled", Some(&format!("{} ms in this run", flow.throttled_ms)));
        }
        let shapes: Vec<String> = flow.shapes.iter().map(|(shape, n)| format!("{shape} {}", grouped(*n))).collect();
        fact(page, "batches", (!shapes.is_empty()).then(|| shapes.join(", ")).as_deref());
        fact(page, "source cluster", flow.source_cluster_id.as_deref());
        fact(page, "target cluster", flow.target_cluster_id.as_deref());
    }
    page.raw("</dl>\n");
}

fn fact(page: &mut Page, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        page.raw("<dt>").raw(name).raw("</dt><dd>").text(value).raw("</dd>\n");
    }
}

fn differences(page: &mut Page, found: &[Difference]) {
    if found.is_empty() {
        return;
    }
    page.raw("<table>\n<caption>Differences</caption>\n");
    head(page, &["Key", "In force", "Git says", "Changed by", "Effect"]);
    for difference in found {
        let side = |value: Option<String>| value.unwrap_or_else(|| "(absent)".to_owned());
        let live = side(difference.live.as_ref().map(ToString::to_string));
        let desired = side(difference.desired.as_ref().map(ToString::to_string));
        page.raw("<tr><th scope=\"row\"><code>").text(&difference.key);
        page.raw("</code></th><td data-l=\"In force\"><code>").text(&live);
        page.raw("</code></td><td data-l=\"Git says\"><code>")
            .text(&desired)
            .raw("</code></td><td data-l=\"Changed by\">");
        page.raw(match difference.origin {
            Origin::Git => "Git",
            Origin::Live => "the live side",
            Origin::Both => "both",
        });
        page.raw("</td><td data-l=\"Effect\">").text(&difference.effect).raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table>\n");
}

/// What is stopped first, then what lags most.
fn partitions(page: &mut Page, flow: &FlowReport) {
    if flow.partitions.is_empty() {
        return;
    }
    let mut sorted: Vec<_> = flow.partitions.iter().collect();
    sorted.sort_by_key(|p| (p.problem.is_none(), std::cmp::Reverse(p.lag), &p.topic, p.partition));
    page.raw("<table>\n<caption>Partitions</caption>\n");
    head(page, &["Partition", "Remote topic", "State", "Position", "End", "Lag"]);
    for partition in sorted.iter().take(MAX_ROWS) {
        page.raw("<tr><th scope=\"row\">").text(&format!("{}-{}", partition.topic, partition.partition));
        page.raw("</th><td data-l=\"Remote topic\">").text(&partition.remote_topic).raw("</td><td data-l=\"State\">");
        page.text(&partition.state);
        if let Some(problem) = &partition.problem {
            page.raw("<br>").text(&problem.message);
            hint(page, problem.hint.as_deref());
        }
        page.raw("</td><td class=\"n\" data-l=\"Position\">");
        known(page, partition.position.map(|offset| offset.to_string()));
        page.raw("</td><td class=\"n\" data-l=\"End\">");
        known(page, partition.end.map(|offset| offset.to_string()));
        page.raw("</td><td class=\"n\" data-l=\"Lag\">");
        known(page, partition.lag.map(grouped));
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table>\n");
    if let Some(more) = sorted.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        page.raw("<p>").text(&more.to_string()).raw(" more in the JSON document.</p>\n");
    }
}

/// Connectors that are nobody's.
pub(super) fn unmanaged(page: &mut Page, status: &Status) {
    if status.unmanaged.is_empty() {
        return;
    }
    page.raw("<h2 id=\"unmanaged\">Unmanaged</h2>\n<ul>\n");
    for connector in &status.unmanaged {
        page.raw("<li><strong>").text(&connector.name).raw("</strong> (").word(&connector.state).raw("): ");
        page.text(&connector.why).raw("</li>\n");
    }
    page.raw("</ul>\n");
}

/// The repository.
pub(super) fn source(page: &mut Page, status: &Status, now: Timestamp) {
    let source = &status.source;
    page.raw("<h2 id=\"source\">Repository</h2>\n<dl>\n");
    fact(page, "from", Some(&source.url));
    fact(page, "follows", source.reference.as_deref());
    fact(page, "folder", Some(&source.path));
    fact(page, "read", source.observed.as_deref());
    fact(page, "applied", source.applied.as_deref());
    if let Some(commit) = &source.commit {
        page.raw("<dt>commit</dt><dd>").text(&commit.subject).raw(" (").text(&commit.author);
        if let Some(at) = commit.time {
            page.raw(", ").time(at, now);
        }
        page.raw(")</dd>\n");
    }
    if let Some(at) = source.last_ok {
        page.raw("<dt>last reached</dt><dd>").time(at, now).raw("</dd>\n");
    }
    if source.failures > 0 {
        page.raw("<dt>failed looks</dt><dd>").text(&source.failures.to_string());
        if let Some(next) = source.next {
            page.raw(", the next ").time(next, now);
        }
        page.raw("</dd>\n");
    }
    if let Some(rewritten) = &source.rewritten {
        page.raw("<dt>force push</dt><dd><code>").text(&rewritten.from).raw("</code> became <code>");
        page.text(&rewritten.to).raw("</code> ").time(rewritten.at, now).raw("</dd>\n");
    }
    page.raw("</dl>\n");
}
