//! Repositories, caches and folders as nobody should make them.

use git2::ObjectType;
use proptest::prelude::*;

use super::*;
use crate::git::{Address, Error, read_once};

const A: &str = "connectors/dev/east/west/a.json";

/// A tree object as the bytes say, whatever libgit2 would have written.
fn raw_tree(server: &Server, entries: &[(&str, &[u8], Oid)]) -> Oid {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    server.repository.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap()
}

/// Commits a `connectors/dev/east/west` of such entries.
fn commit_raw(server: &Server, entries: &[(&str, &[u8], Oid)]) {
    let mut tree = raw_tree(server, entries);
    for folder in ["west", "east", "dev", "connectors"] {
        tree = raw_tree(server, &[("40000", folder.as_bytes(), tree)]);
    }
    let tree = server.repository.find_tree(tree).unwrap();
    let who = Signature::now("A\u{1b}[31mda", "ada@example.com").unwrap();
    let message = format!("{}\u{7}", "long ".repeat(1_000));
    server.repository.commit(Some("refs/heads/main"), &who, &who, &message, &tree, &[]).unwrap();
}

#[tokio::test]
async fn names_that_can_not_be_shown_are_refused_and_stay_apart() {
    let server = Server::new();
    let one = server.repository.blob(b"{}").unwrap();
    let entries: Vec<(&str, &[u8], Oid)> = vec![
        ("100644", b"../../x.json", one),
        ("100644", b"a.json", one),
        ("100644", b"b\nc.json", one),
        ("100644", b"b\xfe.json", one),
        ("100644", b"b\xff.json", one),
        ("100644", b"twice.json", one),
        ("100644", b"twice.json", one),
    ];
    commit_raw(&server, &entries);
    let local = settings(&server.path().display().to_string(), Path::new("unused"));
    for settings in [local, server.settings()] {
        let Ok(snapshot) = read_once(settings.clone()).await else {
            // libgit2 takes no such trees from a remote.
            assert!(matches!(settings.location, Location::Remote(_)));
            continue;
        };
        let refused: Vec<&str> =
            snapshot.files.iter().filter(|file| file.refused.is_some()).map(|file| file.path.as_str()).collect();
        let below = "connectors/dev/east/west/";
        let names = ["b\\nc.json", "b\\xfe.json", "b\\xff.json", "twice.json"].map(|name| format!("{below}{name}"));
        assert_eq!(refused, names);
        assert_eq!(snapshot.files.len(), refused.len() + 1, "{:?}", snapshot.files);
        let commit = snapshot.commit.unwrap();
        assert_eq!(commit.author, "A[31mda", "no terminal is told to turn red");
        assert!(commit.subject.len() <= 200, "{}", commit.subject.len());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn names_of_plain_folders_are_refused_alike() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let west = folder.path().join("connectors/dev/east/west");
    std::fs::create_dir_all(&west).unwrap();
    for name in [b"a.json".as_slice(), b"b\xfe.json", b"b\xff.json", b"b\nc.json"] {
        std::fs::write(west.join(std::ffi::OsStr::from_bytes(name)), "{}").unwrap();
    }
    let snapshot = read_once(settings(&folder.path().display().to_string(), Path::new("unused"))).await.unwrap();
    let refused: Vec<bool> = snapshot.files.iter().map(|file| file.refused.is_some()).collect();
    assert_eq!(refused, [false, true, true, true], "{:?}", snapshot.files);
}

#[tokio::test]
async fn five_thousand_files_are_read_in_order() {
    let server = Server::new();
    let many: Vec<(String, String)> =
        (0..5_000).map(|n| (format!("connectors/dev/east/s{:02}/{n:04}.json", n % 50), n.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    server.commit("main", &many);
    let snapshot = read_once(server.settings()).await.unwrap();
    assert_eq!(snapshot.files.len(), 5_000);
    assert!(snapshot.files.is_sorted_by(|a, b| a.path < b.path));
    assert!(snapshot.files.iter().all(|file| file.refused.is_none()));
}

#[tokio::test]
async fn a_tag_of_no_commit_is_told_as_such() {
    let server = Server::new();
    let id = server.commit("main", &[(A, "{}")]);
    let tree = server.repository.find_commit(id).unwrap().into_object().peel(ObjectType::Tree).unwrap();
    server.repository.tag_lightweight("tree", &tree, false).unwrap();
    for mut settings in [server.settings(), settings(&server.path().display().to_string(), Path::new("unused"))] {
        settings.reference = Some("tree".to_owned());
        assert_eq!(read_once(settings).await.unwrap_err().code(), "GIT-NO-COMMIT");
    }
}

#[tokio::test]
async fn a_tree_that_can_not_be_read_is_no_empty_one() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let work = server.folder.path().join("work");
    Repository::clone(&server.url(), &work).unwrap();
    let local = settings(&work.display().to_string(), Path::new("unused"));
    let sources = [Source::start(local).unwrap(), Source::start(server.settings()).unwrap()];
    for source in &sources {
        source.refresh().await;
        assert_eq!(paths(&source.snapshots().borrow().clone().unwrap()), [A]);
    }
    // A new commit whose tree isn't there.
    for repository in [&server.repository, &Repository::open(&work).unwrap()] {
        let parent = repository.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
        let text = format!(
            "tree {}\nparent {}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nbroken\n",
            "1".repeat(40),
            parent.id()
        );
        let id = repository.odb().unwrap().write(ObjectType::Commit, text.as_bytes()).unwrap();
        repository.reference("refs/heads/main", id, true, "broken").unwrap();
    }
    for source in &sources {
        source.refresh().await;
        let state = source.state().borrow().clone();
        assert!(state.error.is_some() && state.failing_since.is_some());
        assert_eq!(paths(&source.snapshots().borrow().clone().unwrap()), [A], "the last good one stays");
    }
}

#[tokio::test]
async fn a_cache_that_another_process_uses_is_waited_for_and_left_alone() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    read_once(server.settings()).await.unwrap();
    let cache = server.folder.path().join("cache/git");
    let lock =
        std::fs::read_dir(&cache).unwrap().flatten().map(|entry| entry.path()).find(|path| path.is_file()).unwrap();
    let held = std::fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let mut hasty = server.settings();
    hasty.timeout = Duration::from_millis(200);
    let error = read_once(hasty).await.unwrap_err();
    assert_eq!(error.code(), "GIT-CACHE");
    assert!(error.to_string().contains("another process"), "{error}");
    let reading = read_once(server.settings());
    let release = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(held);
    };
    assert!(tokio::join!(reading, release).0.is_ok());
}

#[tokio::test]
async fn a_cache_that_can_not_be_written_is_told_and_what_a_killed_process_left_is_cleared() {
    let server = Server::new();
    server.commit("main", &[(A, "{}")]);
    let mut settings = server.settings();
    settings.cache_dir = server.folder.path().join("r.git/HEAD");
    let error = read_once(settings).await.unwrap_err();
    assert_eq!(error.code(), "GIT-CACHE");
    assert!(error.hint().unwrap().contains("disk"), "{error}");

    read_once(server.settings()).await.unwrap();
    let clones = std::fs::read_dir(server.folder.path().join("cache/git")).unwrap().flatten().map(|entry| entry.path());
    let clone = clones.into_iter().find(|path| path.is_dir()).unwrap();
    std::fs::write(clone.join("refs/mirrorkeeper/head.lock"), "").unwrap();
    std::fs::write(clone.join("shallow.lock"), "").unwrap();
    let id = server.commit("main", &[(A, "{\"x\":1}")]);
    assert_eq!(read_once(server.settings()).await.unwrap().revision, id.to_string());
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_behind_a_link_that_is_swapped_is_followed_and_never_empty_between() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for version in ["1", "2"] {
        let west = at(version).join("connectors/dev/east/west");
        std::fs::create_dir_all(&west).unwrap();
        std::fs::write(west.join("a.json"), version).unwrap();
    }
    symlink("1", at("current")).unwrap();
    let source = Source::start(settings(&at("current").display().to_string(), Path::new("unused"))).unwrap();
    source.refresh().await;
    assert_eq!(content(&source.snapshots().borrow().clone().unwrap(), A), "1");
    std::fs::remove_file(at("current")).unwrap();
    source.refresh().await;
    assert_eq!(source.state().borrow().error.as_ref().unwrap().code, "GIT-UNREACHABLE");
    assert_eq!(content(&source.snapshots().borrow().clone().unwrap(), A), "1");
    symlink("2", at("current")).unwrap();
    source.refresh().await;
    assert_eq!(content(&source.snapshots().borrow().clone().unwrap(), A), "2");
}

proptest! {
    /// Whatever a credential looks like, and whatever is wrong with the address, it is in no text.
    #[test]
    fn no_text_shows_a_credential(
        user in "[a-z]{0,3}canary[a-zA-Z0-9%~!$&'()*+,;=_.-]{0,12}",
        password in "[A-Z:@]{0,3}CANARY[a-zA-Z0-9%:@~!$&'()*+,;=_.-]{0,12}",
        scheme in "(https|http|HTTPS|svn|socks5|git)",
        host in "(git\\.example\\.com|\\[::1\\]:8443|)",
        tail in "(/x\\.git|/x\\.git\\?private_token=CANARY|/|\\t|)",
    ) {
        let url = format!("{scheme}://{user}:{password}@{host}{tail}");
        let quoted = format!("failed at '{scheme}://{}@h/x'", format!("{user}:{password}").replace('\'', ""));
        let mut texts = vec![crate::git::redact(&quoted)];
        match url.parse::<Location>() {
            Ok(location) => {
                let settings = settings(&url, Path::new("unused"));
                let errors = [
                    Error::Unreachable { location: location.to_string(), why: "x".into() },
                    Error::Refused { location: location.to_string(), why: "x".into() },
                ];
                texts.extend(errors.iter().map(|error| format!("{error} {error:?} {:?}", error.hint())));
                texts.push(format!("{location} {location:?} {settings:?}"));
            }
            Err(error) => texts.push(format!("{error} {error:?} {:?}", error.hint())),
        }
        match Address::proxy(&url) {
            Ok(address) => texts.push(format!("{address} {address:?}")),
            Err(error) => texts.push(format!("{error} {error:?} {:?}", error.hint())),
        }
        for text in texts {
            prop_assert!(!text.to_lowercase().contains("canary"), "{}", text);
        }
    }
}
