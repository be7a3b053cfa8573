//! Following a remote: moves, rewrites, outages, a broken cache.

use super::*;
use crate::git::read_once;

const A: &str = "connectors/dev/east/west/a.json";
const B: &str = "connectors/dev/east/west/b.json";

#[tokio::test]
async fn a_commit_becomes_a_snapshot() {
    let server = Server::new();
    let id =
        server.commit("main", &[(A, "{}"), ("README.md", "x"), ("other/c.json", "{}"), ("connectors/.x/d.json", "{}")]);
    let snapshot = read_once(server.settings()).await.unwrap();
    assert_eq!(snapshot.revision, id.to_string());
    assert_eq!(paths(&snapshot), [A]);
    assert_eq!(content(&snapshot, A), "{}");
    assert!(snapshot.root_present);
    let commit = snapshot.commit.unwrap();
    assert_eq!((commit.author.as_str(), commit.subject.as_str()), ("Ada", "Add things"));
    assert_eq!(commit.time.as_second(), 1_700_000_000);
}

#[tokio::test]
async fn an_unchanged_head_transfers_nothing() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let source = Source::start(server.settings()).unwrap();
    source.refresh().await;
    let first = source.snapshots().borrow().clone().unwrap();
    for _ in 0..1000 {
        source.refresh().await;
    }
    let state = source.state().borrow().clone();
    assert!(state.looks >= 1000, "{state:?}");
    assert_eq!((state.fetches, state.packs_transferred, state.changes, state.failures), (1, 1, 1, 0));
    assert!(Arc::ptr_eq(&first, &source.snapshots().borrow().clone().unwrap()), "the same snapshot, not an equal one");

    // A new process finds the clone in the cache and needs no pack either.
    drop(source);
    let source = Source::start(server.settings()).unwrap();
    source.refresh().await;
    assert_eq!((source.state().borrow().fetches, source.state().borrow().packs_transferred), (0, 0));
    assert_eq!(*source.snapshots().borrow().clone().unwrap(), *first);
}

#[tokio::test]
async fn a_new_commit_is_followed_and_is_no_rewrite() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let source = Source::start(server.settings()).unwrap();
    source.refresh().await;
    for round in 0..3 {
        let id = server.commit("main", &[(A, &format!("{{\"round\":{round}}}")), (B, "{}")]);
        source.refresh().await;
        let snapshot = source.snapshots().borrow().clone().unwrap();
        assert_eq!(snapshot.revision, id.to_string());
        assert_eq!(paths(&snapshot), [A, B]);
    }
    let state = source.state().borrow().clone();
    assert_eq!(state.rewritten, None);
    assert_eq!(state.packs_transferred, 4);
}

#[tokio::test]
async fn a_force_push_is_followed_and_told() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let old = server.commit("main", &[(A, "{\"x\":1}")]);
    let source = Source::start(server.settings()).unwrap();
    source.refresh().await;
    let new = server.rewrite("main", &[(B, "{}")]);
    source.refresh().await;
    let rewritten = source.state().borrow().rewritten.clone().unwrap();
    assert_eq!((rewritten.from, rewritten.to), (old.to_string(), new.to_string()));
    assert_eq!(paths(&source.snapshots().borrow().clone().unwrap()), [B]);
}

#[tokio::test]
async fn an_outage_leaves_the_snapshot_and_says_since_when() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let source = Source::start(server.settings()).unwrap();
    source.refresh().await;
    let away = server.folder.path().join("away.git");
    std::fs::rename(server.path(), &away).unwrap();
    source.refresh().await;
    let failing = state_where(&source, |state| state.failures > 0).await;
    let error = failing.error.clone().unwrap();
    assert_eq!(error.code, "GIT-UNREACHABLE");
    assert!(error.hint.is_some() && failing.failing_since.is_some() && failing.last_ok.is_some());
    assert_eq!(paths(&source.snapshots().borrow().clone().unwrap()), [A]);
    source.refresh().await;
    let later = source.state().borrow().clone();
    assert!(later.failures > failing.failures);
    assert_eq!(later.failing_since, failing.failing_since, "since the first failure");

    std::fs::rename(&away, server.path()).unwrap();
    source.refresh().await;
    let state = source.state().borrow().clone();
    assert_eq!((state.failures, state.error, state.failing_since), (0, None, None));
    assert_eq!(state.packs_transferred, 1, "nothing came anew");
}

#[tokio::test]
async fn failures_back_off_and_end_by_themselves() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let away = server.folder.path().join("away.git");
    std::fs::rename(server.path(), &away).unwrap();
    let mut settings = server.settings();
    settings.interval = Duration::from_millis(20);
    let source = Source::start(settings).unwrap();
    let state = state_where(&source, |state| state.failures >= 3).await;
    assert!(state.next.is_some());
    assert!(source.snapshots().borrow().is_none(), "no snapshot is not an empty snapshot");
    std::fs::rename(&away, server.path()).unwrap();
    source.poke();
    snapshot_where(&source, |snapshot| snapshot.root_present).await;
}

#[tokio::test]
async fn a_broken_cache_is_made_anew() {
    let server = Server::new();
    server.commit("main", &[(A, "{}"), (B, "{\"b\":1}")]);
    let before = read_once(server.settings()).await.unwrap();
    let cache = server.folder.path().join("cache/git");
    let mut entries = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let clone = entries.find(|path| path.is_dir()).unwrap();

    let spoil_objects = || {
        for entry in walk(&clone.join("objects")) {
            let mut permissions = entry.metadata().unwrap().permissions();
            #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test")]
            permissions.set_readonly(false);
            std::fs::set_permissions(&entry, permissions).unwrap();
            std::fs::write(&entry, b"spoilt").unwrap();
        }
    };
    spoil_objects();
    assert_eq!(read_once(server.settings()).await.unwrap(), before, "objects that can't be read");

    std::fs::write(clone.join("HEAD"), b"\0\0").unwrap();
    assert_eq!(read_once(server.settings()).await.unwrap(), before, "no repository any more");

    std::fs::remove_dir_all(clone.join("objects")).unwrap();
    assert_eq!(read_once(server.settings()).await.unwrap(), before, "objects gone");

    // And with a new head, when the old history can't be read.
    spoil_objects();
    let id = server.commit("main", &[(A, "{}")]);
    assert_eq!(read_once(server.settings()).await.unwrap().revision, id.to_string());
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { files.extend(walk(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}

#[tokio::test]
async fn references_are_branches_tags_full_names_and_commits() {
    let server = Server::new();
    let first = server.commit("main", &[(A, "{}")]);
    let object = server.repository.find_object(first, None).unwrap();
    let who = Signature::now("Ada", "ada@example.com").unwrap();
    server.repository.tag("v1", &object, &who, "one", false).unwrap();
    let second = server.commit("main", &[(B, "{}")]);
    let at = async |reference: &str| {
        let mut settings = server.settings();
        settings.reference = Some(reference.to_owned());
        read_once(settings).await.map(|snapshot| snapshot.revision)
    };
    assert_eq!(at("main").await.unwrap(), second.to_string());
    assert_eq!(at("refs/heads/main").await.unwrap(), second.to_string());
    assert_eq!(at("v1").await.unwrap(), first.to_string(), "an annotated tag, as its commit");
    assert_eq!(at("v1").await.unwrap(), first.to_string(), "and from the cache");
    let missing = at("nope").await.unwrap_err();
    assert_eq!(missing.code(), "GIT-NO-REFERENCE");
    assert!(missing.hint().unwrap().contains("main, v1"), "{missing:?}");
    server.repository.tag_lightweight("main", &object, false).unwrap();
    assert_eq!(at("main").await.unwrap_err().code(), "GIT-AMBIGUOUS");
    // The same through a path.
    let mut settings = settings(&server.path().display().to_string(), Path::new("unused"));
    settings.reference = Some(first.to_string());
    assert_eq!(read_once(settings.clone()).await.unwrap().revision, first.to_string());
    settings.reference = Some("main".into());
    assert_eq!(read_once(settings).await.unwrap_err().code(), "GIT-AMBIGUOUS");
}

#[tokio::test]
async fn a_repository_without_commits_is_an_error_and_a_missing_root_is_a_finding() {
    let server = Server::new();
    assert_eq!(read_once(server.settings()).await.unwrap_err().code(), "GIT-UNBORN");
    let local = settings(&server.path().display().to_string(), Path::new("unused"));
    assert_eq!(read_once(local).await.unwrap_err().code(), "GIT-UNBORN");
    server.commit("main", &[("README.md", "x")]);
    let snapshot = read_once(server.settings()).await.unwrap();
    assert!(!snapshot.root_present && snapshot.files.is_empty());
}

#[tokio::test]
async fn a_branch_that_vanishes_leaves_the_snapshot() {
    let server = Server::new();
    server.commit("main", &[("x", "y")]);
    server.commit("live", &[(A, "{}")]);
    let mut settings = server.settings();
    settings.reference = Some("live".into());
    let source = Source::start(settings).unwrap();
    source.refresh().await;
    server.repository.find_branch("live", git2::BranchType::Local).unwrap().delete().unwrap();
    source.refresh().await;
    assert_eq!(source.state().borrow().error.clone().unwrap().code, "GIT-NO-REFERENCE");
    assert_eq!(paths(&source.snapshots().borrow().clone().unwrap()), [A]);
}

#[tokio::test]
async fn many_fetches_do_not_fill_the_cache() {
    let server = Server::new();
    let source = Source::start(server.settings()).unwrap();
    for round in 0..80 {
        server.commit("main", &[(A, &round.to_string())]);
        source.refresh().await;
    }
    let state = source.state().borrow().clone();
    assert_eq!((state.changes, state.rewritten, state.error), (80, None, None));
    let packs = walk(&server.folder.path().join("cache/git"));
    assert!(packs.iter().filter(|path| path.extension().is_some_and(|end| end == "pack")).count() < 70);
}
