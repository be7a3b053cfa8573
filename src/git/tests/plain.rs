//! Paths of this machine: a repository in place, a plain folder, a mounted ConfigMap.

use super::*;
use crate::git::read_once;

const A: &str = "connectors/dev/east/west/a.json";

fn write(folder: &Path, path: &str, text: &str) {
    let at = folder.join(path);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, text).unwrap();
}

#[tokio::test]
async fn a_local_repository_is_read_at_its_commit_and_watched() {
    let server = Server::new();
    let first = server.commit("main", &[(A, "{}")]);
    let local = settings(&server.path().display().to_string(), &server.folder.path().join("cache"));
    let source = Source::start(local).unwrap();
    snapshot_where(&source, |snapshot| snapshot.revision == first.to_string()).await;
    state_where(&source, |state| state.watching).await;
    // Nothing but the watch can bring this in time: the interval is an hour.
    let second = server.commit("main", &[(A, "{\"x\":1}")]);
    snapshot_where(&source, |snapshot| snapshot.revision == second.to_string()).await;
    assert_eq!(source.state().borrow().rewritten, None);
    let third = server.rewrite("main", &[(A, "{\"x\":2}")]);
    snapshot_where(&source, |snapshot| snapshot.revision == third.to_string()).await;
    let state = state_where(&source, |state| state.rewritten.is_some()).await;
    assert_eq!(state.rewritten.unwrap().from, second.to_string());
    assert!(!server.folder.path().join("cache").exists(), "nothing is cloned");
}

#[tokio::test]
async fn what_is_not_committed_does_not_count_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init(folder.path()).unwrap();
    write(folder.path(), A, "{}");
    let mut index = repository.index().unwrap();
    index.add_path(Path::new(A)).unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let who = Signature::now("Ada", "ada@example.com").unwrap();
    let id = repository.commit(Some("HEAD"), &who, &who, "one", &tree, &[]).unwrap();
    write(folder.path(), A, "{\"uncommitted\":1}");

    let mut settings = settings(&folder.path().display().to_string(), Path::new("unused"));
    let snapshot = read_once(settings.clone()).await.unwrap();
    assert_eq!((snapshot.revision.as_str(), content(&snapshot, A)), (id.to_string().as_str(), "{}"));
    settings.working_tree = Some(true);
    let snapshot = read_once(settings).await.unwrap();
    assert!(snapshot.revision.starts_with("working-tree:"));
    assert_eq!(content(&snapshot, A), "{\"uncommitted\":1}");
    // The same content has the same id, committed or not.
    assert_eq!(
        snapshot.files[0].blob,
        git2::Oid::hash_object(git2::ObjectType::Blob, b"{\"uncommitted\":1}").unwrap().to_string()
    );
}

#[tokio::test]
async fn a_plain_folder_is_read_as_it_lies_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), A, "{}");
    let source = Source::start(settings(&folder.path().display().to_string(), Path::new("unused"))).unwrap();
    let first = snapshot_where(&source, |snapshot| snapshot.root_present).await;
    assert!(first.revision.starts_with("working-tree:"));
    state_where(&source, |state| state.watching).await;
    // A folder that is new, and a file in it.
    let b = "connectors/dev/east/south/b.json";
    write(folder.path(), b, "{\"b\":1}");
    snapshot_where(&source, |snapshot| snapshot.files.len() == 2 && content(snapshot, b) == "{\"b\":1}").await;
    // A change in place, as editors do it, and by renaming.
    write(folder.path(), A, "{\"x\":1}");
    snapshot_where(&source, |snapshot| content(snapshot, A) == "{\"x\":1}").await;
    write(folder.path(), "connectors/dev/east/west/.a.json.tmp", "{\"x\":2}");
    std::fs::rename(folder.path().join("connectors/dev/east/west/.a.json.tmp"), folder.path().join(A)).unwrap();
    snapshot_where(&source, |snapshot| content(snapshot, A) == "{\"x\":2}").await;
    std::fs::remove_file(folder.path().join(b)).unwrap();
    let last = snapshot_where(&source, |snapshot| snapshot.files.len() == 1).await;
    // The revision is what lies there, not when it was written.
    source.refresh().await;
    assert_eq!(source.snapshots().borrow().clone().unwrap().revision, last.revision);
    assert_eq!(source.state().borrow().failures, 0);
}

#[tokio::test]
async fn looking_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), A, "{}");
    let source = Source::start(settings(&folder.path().display().to_string(), Path::new("unused"))).unwrap();
    source.refresh().await;
    source.refresh().await;
    let looks = source.state().borrow().looks;
    // There is no event to wait for where nothing must happen: only time can tell.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(source.state().borrow().looks, looks, "our own reading wakes us");
}

#[tokio::test]
async fn a_root_that_comes_late_and_one_that_is_replaced_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::start(settings(&folder.path().display().to_string(), Path::new("unused"))).unwrap();
    snapshot_where(&source, |snapshot| !snapshot.root_present).await;
    state_where(&source, |state| state.watching).await;
    write(folder.path(), A, "{}");
    snapshot_where(&source, |snapshot| snapshot.root_present && snapshot.files.len() == 1).await;
    std::fs::rename(folder.path().join("connectors"), folder.path().join("old")).unwrap();
    snapshot_where(&source, |snapshot| !snapshot.root_present).await;
    write(folder.path(), A, "{\"anew\":1}");
    snapshot_where(&source, |snapshot| snapshot.files.len() == 1 && content(snapshot, A) == "{\"anew\":1}").await;
    // The new folder is watched, not only the one that was there at first.
    write(folder.path(), A, "{\"anew\":2}");
    snapshot_where(&source, |snapshot| content(snapshot, A) == "{\"anew\":2}").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_config_map_is_swapped_whole() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path();
    // As the kubelet lays it out.
    let publish = |name: &str, a: &str, b: Option<&str>| {
        write(&mount.join(name), "dev/east/west/a.json", a);
        if let Some(b) = b {
            write(&mount.join(name), "dev/east/west/b.json", b);
        }
        symlink(name, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    publish("..2026_01", "{\"v\":1}", Some("{\"v\":1}"));
    symlink("..data/dev", mount.join("dev")).unwrap();
    let mut settings = settings(&mount.display().to_string(), Path::new("unused"));
    settings.root = String::new();
    let source = Source::start(settings).unwrap();
    let a = "dev/east/west/a.json";
    let first = snapshot_where(&source, |snapshot| snapshot.files.len() == 2).await;
    assert_eq!(paths(&first), [a, "dev/east/west/b.json"], "each once, under its own name");
    state_where(&source, |state| state.watching).await;
    for version in 2..5 {
        let text = format!("{{\"v\":{version}}}");
        publish(&format!("..2026_0{version}"), &text, Some(&text));
        let snapshot = snapshot_where(&source, |snapshot| content(snapshot, a) == text).await;
        assert_eq!(content(&snapshot, "dev/east/west/b.json"), text, "never half of each");
    }
    publish("..2026_09", "{\"v\":9}", None);
    snapshot_where(&source, |snapshot| snapshot.files.len() == 1).await;
    assert_eq!(source.state().borrow().failures, 0);
}

#[cfg(unix)]
#[test]
fn a_swap_during_the_read_is_never_read_half() {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path();
    // Each top-level name is a link of its own, so a swap can fall between two of them.
    let names: Vec<String> = (0..40).map(|n| format!("dev{n}/east/west/a.json")).collect();
    for version in ["..1", "..2"] {
        names.iter().for_each(|name| write(&mount.join(version), name, version));
    }
    symlink("..1", mount.join("..data")).unwrap();
    for n in 0..40 {
        symlink(format!("..data/dev{n}"), mount.join(format!("dev{n}"))).unwrap();
    }
    let done = AtomicBool::new(false);
    let whole = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                // A kubelet's names bear the time: none comes twice, so that a swap there and back is seen too.
                let name = format!("..at{n}");
                symlink(["..2", "..1"][n % 2], mount.join(&name)).unwrap();
                symlink(&name, mount.join("..data_tmp")).unwrap();
                std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
                if done.load(Ordering::Relaxed) {
                    return;
                }
                // So that some reads end between two swaps, on a slow machine too.
                std::thread::sleep(Duration::from_millis(1 << (n % 8)));
            }
        });
        let until = std::time::Instant::now() + PATIENCE;
        let (mut whole, mut torn) = (0, 0);
        while whole < 20 && std::time::Instant::now() < until {
            // Giving up is allowed, mixing is not.
            if let Ok(snapshot) = crate::git::folder::read(mount, "", crate::git::Limits::default(), until) {
                let first = content(&snapshot, &names[0]);
                torn += usize::from(!names.iter().all(|name| content(&snapshot, name) == first));
                whole += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        (whole, torn)
    });
    assert_eq!(whole, (20, 0), "reads, and how many were half of each");
}
