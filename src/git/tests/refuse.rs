//! What is not followed, too large or too slow.

use super::*;
use crate::git::{Error, read_once};

const A: &str = "connectors/dev/east/west/a.json";
const LINK: i32 = 0o120_000;
const FILE: i32 = 0o100_644;

async fn with(files: &[(&str, &str, i32)]) -> Result<Snapshot, Error> {
    let server = Server::new();
    server.commit_modes("main", None, files);
    read_once(server.settings()).await
}

#[tokio::test]
async fn a_link_in_a_file_s_place_is_present_and_unusable() {
    let snapshot = with(&[(A, "/etc/passwd", LINK), ("connectors/dev/east/west/b.json", "{}", FILE)]).await.unwrap();
    assert_eq!(snapshot.files.len(), 2);
    assert!(snapshot.files[0].refused.is_some());
    assert!(serde_json::from_slice::<serde_json::Value>(&snapshot.files[0].bytes).is_err());
    assert!(snapshot.files[1].refused.is_none());
}

#[tokio::test]
async fn a_link_or_submodule_in_a_folder_s_place_is_no_empty_folder() {
    for path in ["connectors", "connectors/dev", "connectors/dev/east/west"] {
        let error = with(&[(path, "elsewhere", LINK), ("elsewhere/x.json", "{}", FILE)]).await.unwrap_err();
        assert_eq!(error.code(), "GIT-NOT-FOLLOWED", "{path}");
    }
    let submodule = with(&[("connectors/dev", "1111111111111111111111111111111111111111", 0o160_000)]).await;
    assert_eq!(submodule.unwrap_err().code(), "GIT-NOT-FOLLOWED");
    // A link to a file of another kind is nobody's folder.
    let files = [("connectors/README.md", "../README.md", LINK), ("README.md", "x", FILE), (A, "{}", FILE)];
    assert_eq!(paths(&with(&files).await.unwrap()), [A]);
}

#[tokio::test]
async fn a_huge_file_is_present_and_unusable() {
    let huge = "x".repeat(3 * 1024 * 1024);
    let snapshot = with(&[(A, &huge, FILE), ("connectors/dev/east/west/b.json", "{}", FILE)]).await.unwrap();
    assert_eq!(snapshot.files.len(), 2);
    assert!(snapshot.files[0].refused.as_deref().unwrap().contains("3145728"));
    assert!(snapshot.files[0].bytes.len() < 200);
}

#[tokio::test]
async fn limits_are_errors_and_no_shortened_snapshots() {
    let server = Server::new();
    let many: Vec<(String, String)> =
        (0..50).map(|n| (format!("connectors/dev/east/west/{n}.json"), "{}".repeat(100))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    server.commit("main", &many);
    let mut settings = server.settings();
    settings.limits.files = 49;
    assert_eq!(read_once(settings.clone()).await.unwrap_err().code(), "GIT-TOO-LARGE");
    settings.limits.files = 50;
    settings.limits.total_bytes = 9_999;
    assert_eq!(read_once(settings.clone()).await.unwrap_err().code(), "GIT-TOO-LARGE");
    settings.limits.total_bytes = 10_000;
    assert_eq!(read_once(settings).await.unwrap().files.len(), 50);
}

#[cfg(unix)]
#[tokio::test]
async fn links_out_of_a_plain_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(outside.path().join("west")).unwrap();
    std::fs::write(outside.path().join("secret.json"), "{\"password\":1}").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let west = folder.path().join("connectors/dev/east/west");
    std::fs::create_dir_all(&west).unwrap();
    std::fs::write(west.join("b.json"), "{}").unwrap();
    symlink(outside.path().join("secret.json"), west.join("a.json")).unwrap();
    symlink("nowhere.json", west.join("c.json")).unwrap();
    let settings = settings(&folder.path().display().to_string(), Path::new("unused"));
    let snapshot = read_once(settings.clone()).await.unwrap();
    let refused: Vec<bool> = snapshot.files.iter().map(|file| file.refused.is_some()).collect();
    assert_eq!(refused, [true, false, true]);
    assert!(snapshot.files.iter().all(|file| !content(&snapshot, &file.path).contains("password")));

    symlink(outside.path().join("west"), folder.path().join("connectors/dev/west")).unwrap();
    assert_eq!(read_once(settings).await.unwrap_err().code(), "GIT-NOT-FOLLOWED");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let gone = settings(&folder.path().join("gone").display().to_string(), Path::new("unused"));
    assert_eq!(read_once(gone).await.unwrap_err().code(), "GIT-UNREACHABLE");
    // A repository that loses its `.git` does not turn into a plain folder.
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let work = folder.path().join("work");
    Repository::clone(&server.url(), &work).unwrap();
    let source = Source::start(settings(&work.display().to_string(), Path::new("unused"))).unwrap();
    source.refresh().await;
    let before = source.snapshots().borrow().clone().unwrap();
    std::fs::rename(work.join(".git"), folder.path().join("taken")).unwrap();
    source.refresh().await;
    assert!(source.state().borrow().error.is_some());
    assert_eq!(*source.snapshots().borrow().clone().unwrap(), *before);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let refused = settings(&format!("http://me:hidden@127.0.0.1:{port}/x.git"), folder.path());
    let error = read_once(refused).await.unwrap_err();
    assert_eq!(error.code(), "GIT-UNREACHABLE");
    assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("hidden"));
}

#[tokio::test]
async fn a_commit_id_that_is_nowhere_is_told_as_such() {
    let server = Server::new();
    let id = server.commit("main", &[(A, "{}")]);
    let mut settings = server.settings();
    settings.reference = Some(id.to_string());
    assert_eq!(read_once(settings.clone()).await.unwrap().revision, id.to_string());
    settings.reference = Some("1".repeat(40));
    assert_eq!(read_once(settings).await.unwrap_err().code(), "GIT-NO-REFERENCE");
}
