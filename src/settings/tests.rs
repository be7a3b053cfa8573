//! Layers, values, and every mistake in one message.

use proptest::prelude::*;

use super::*;

const REQUIRED: &str = "repo = \"https://example.com/x.git\"\nenvironment = \"staging\"\ndestination = \"stg-ue2\"\n";

fn load(flags: &[(&'static str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Settings, Vec<String>> {
    let mut partial = Partial::default();
    for (name, value) in flags {
        partial.set(name, vec![(*value).to_owned()]);
    }
    let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Settings::load(partial, variables, Some(("mk.toml", file)))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn three_settings_are_enough_and_the_rest_has_its_defaults() {
    let settings = load(&[], &[("HOME", "/home/me")], REQUIRED).unwrap();
    assert_eq!(settings.root, "connectors");
    assert_eq!(settings.interval, Duration::from_secs(30));
    assert_eq!(settings.listen, "127.0.0.1:8083");
    assert_eq!(settings.max_deletes, MaxDeletes { count: 3, percent: 20 });
    assert_eq!(settings.memory, 64 << 20);
    assert_eq!(settings.grace, Duration::from_secs(25));
    assert_eq!(settings.stall_after, Duration::from_secs(60));
    assert_eq!(settings.working_tree, None);
    assert_eq!(settings.internal_replication_factor, -1);
    if cfg!(target_os = "linux") {
        assert_eq!(settings.cache_dir, PathBuf::from("/home/me/.cache/mirrorkeeper"));
    }
}

#[test]
fn flag_beats_environment_beats_file() {
    let file = format!("{REQUIRED}interval = \"1m\"\n");
    let variable = [("MIRRORKEEPER_INTERVAL", "2m")];
    assert_eq!(load(&[], &[], &file).unwrap().interval, Duration::from_secs(60));
    assert_eq!(load(&[], &variable, &file).unwrap().interval, Duration::from_secs(120));
    assert_eq!(load(&[("interval", "3m")], &variable, &file).unwrap().interval, Duration::from_secs(180));
    // An empty variable is what charts and compose files leave behind.
    assert_eq!(load(&[], &[("MIRRORKEEPER_INTERVAL", "")], &file).unwrap().interval, Duration::from_secs(60));
}

#[test]
fn every_name_has_one_spelling_for_each_place() {
    let variable = |name| setting(name).unwrap().variable();
    assert_eq!(variable("stall-after"), "MIRRORKEEPER_STALL_AFTER");
    assert_eq!(variable("config.topic.secrets"), "MIRRORKEEPER_CONFIG_TOPIC_SECRETS");
    let names: std::collections::BTreeSet<String> = SETTINGS.iter().map(Setting::variable).collect();
    assert_eq!(names.len(), SETTINGS.len());
    let file = format!("{REQUIRED}config.topic.secrets = \"plain\"\n[state.storage]\ntopic = \"my-state\"\n");
    let settings = load(&[], &[], &file).unwrap();
    assert_eq!(settings.state_storage_topic.as_deref(), Some("my-state"));
}

#[test]
fn lists_come_as_arrays_repeated_flags_or_with_commas() {
    let sources = |settings: Settings| settings.sources;
    let file = format!("{REQUIRED}source = [\"a\", \"b\"]\n");
    assert_eq!(sources(load(&[], &[], &file).unwrap()), ["a", "b"]);
    assert_eq!(sources(load(&[], &[("MIRRORKEEPER_SOURCE", "c, d")], &file).unwrap()), ["c", "d"]);
}

#[test]
fn client_properties_keep_kafkas_names_and_merge() {
    let file = format!("{REQUIRED}[client]\n\"security.protocol\" = \"SSL\"\nssl.truststore.type = \"PEM\"\n");
    let settings = load(
        &[("client", "client.id=x=y")],
        &[("MIRRORKEEPER_CLIENT_SECURITY_PROTOCOL", "SASL_SSL"), ("MIRRORKEEPER_CLIENT_SASL_JAAS_CONFIG", "hunter2")],
        &file,
    )
    .unwrap();
    let pairs: Vec<(&str, &str)> = settings.client.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("client.id", "x=y"),
            ("sasl.jaas.config", "hunter2"),
            ("security.protocol", "SASL_SSL"),
            ("ssl.truststore.type", "PEM")
        ]
    );
}

#[test]
fn all_mistakes_come_at_once_each_with_its_place() {
    let file = "environment = \"staging/x\"\nintervall = \"5s\"\nlisten = 8083\nprune = [\"auto\", \"off\"]\n\
                [wat]\nx = 1\n";
    let variables = [("MIRRORKEEPER_GRACE", "25"), ("MIRRORKEEPER_SYNK", "auto")];
    let found = load(&[("max-deletes", "many"), ("sync", "maybe")], &variables, file).unwrap_err();
    let text = found.join("\n");
    insta::assert_snapshot!(text, @r#"
    intervall (mk.toml:2): there is no such setting (did you mean interval?)
    prune (mk.toml:4): it takes one value, not a list
    wat.x (mk.toml:6): there is no such setting
    MIRRORKEEPER_SYNK: there is no such setting (did you mean MIRRORKEEPER_SYNC?)
    repo: it is required (give --repo, MIRRORKEEPER_REPO or repo in the settings file)
    environment (mk.toml:1): "staging/x": it can't be used as a name (one folder level, of letters, digits, dots, dashes and underscores: topics are named after it)
    destination: it is required (give --destination, MIRRORKEEPER_DESTINATION or destination in the settings file)
    listen (mk.toml:3): "8083": it is no address (write host:port, such as 127.0.0.1:8083 or 0.0.0.0:8083)
    sync (--sync): "maybe": it is none of the words (one of auto, manual)
    max-deletes (--max-deletes): "many": it is no limit of deletions (write a number, a percentage or both: 3, 20% or 3,20%; 0 asks every time)
    grace (MIRRORKEEPER_GRACE): "25": the unit is missing (write 25s for seconds, 25ms for milliseconds)
    "#);
}

#[test]
fn broken_toml_names_its_line_and_hides_nothing_else() {
    let found = load(&[("interval", "soon")], &[], "repo = \"x\"\nroot = = 3\n").unwrap_err().join("\n");
    assert!(found.contains("mk.toml:2") && found.contains("not TOML"), "{found}");
    assert!(found.contains("interval (--interval)"), "{found}");
}

#[test]
fn kubernetes_own_variables_are_no_mistakes() {
    let variables = [
        ("MIRRORKEEPER_SERVICE_HOST", "10.0.0.1"),
        ("MIRRORKEEPER_PORT", "tcp://10.0.0.1:8083"),
        ("MIRRORKEEPER_PORT_8083_TCP_ADDR", "10.0.0.1"),
        ("MIRRORKEEPER_SERVICE_PORT_HTTP", "8083"),
        ("MIRRORKEEPER_URL", "http://x"),
        ("MIRRORKEEPER_CONFIG", "/etc/mk.toml"),
    ];
    load(&[], &variables, REQUIRED).unwrap();
}

#[test]
fn no_secret_is_shown_by_debug_or_by_a_mistake() {
    let secret = "hunter2hunter2";
    let variables = [
        ("MIRRORKEEPER_REPO", "https://me:hunter2hunter2@example.com/x.git?token=hunter2hunter2"),
        ("MIRRORKEEPER_REPO_TOKEN", secret),
        ("MIRRORKEEPER_CLIENT_SASL_JAAS_CONFIG", "a.B required password=\"hunter2hunter2\";"),
        ("MIRRORKEEPER_CLIENT_SSL_KEY_PASSWORD", secret),
    ];
    let settings = load(&[], &variables, REQUIRED).unwrap();
    assert_eq!(settings.git.token.as_ref().unwrap().expose(), secret);
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    let mut broken = variables.to_vec();
    broken.extend([("MIRRORKEEPER_REPO_TOKEN_FILE", "/x"), ("MIRRORKEEPER_SYNC", "x")]);
    let found = load(&[("client", secret)], &broken, "repo-token = \"a\\u0001hunter2\"").unwrap_err().join("\n");
    assert!(!found.contains("hunter2") && found.contains("repo-token-file is set too"), "{found}");
}

#[test]
fn git_credentials_are_files_or_values_and_what_belongs_together_is_together() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----";
    let one_line = key.replace('\n', "\\n");
    let variables = [
        ("MIRRORKEEPER_REPO_SSH_KEY", one_line.as_str()),
        ("MIRRORKEEPER_REPO_SSH_PASSPHRASE", "hunter2"),
        ("MIRRORKEEPER_REPO_PROXY", "http://me:hunter2@proxy:3128"),
    ];
    let file = format!(
        "{REQUIRED}repo-username-file = \"/u\"\nrepo-ca-file = \"/ca\"\nrepo-client-cert-file = \"/c\"\n\
         repo-client-key-file = \"/k\"\n"
    );
    let settings = load(&[], &variables, &file).unwrap();
    assert_eq!(settings.git.ssh_key.as_ref().unwrap().expose(), key);
    assert_eq!(settings.git.proxy.as_ref().unwrap().expose(), "http://me:hunter2@proxy:3128");
    assert_eq!(settings.git.ca_file, Some(PathBuf::from("/ca")));
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");

    let refused = |variables: &[(&str, &str)]| load(&[], variables, REQUIRED).unwrap_err().join("\n");
    for (name, value, expected) in [
        ("MIRRORKEEPER_REPO_SSH_KEY", "hunter2", "no private key"),
        ("MIRRORKEEPER_REPO_PROXY", "socks5://me:hunter2@h:1", "no proxy"),
        ("MIRRORKEEPER_REPO_PROXY", "http://me:hunter2@", "no proxy"),
        ("MIRRORKEEPER_REPO_CLIENT_CERT_FILE", "/c", "repo-client-key-file is not set"),
        ("MIRRORKEEPER_REPO_CLIENT_KEY_FILE", "/k", "repo-client-cert-file is not set"),
    ] {
        let found = refused(&[(name, value)]);
        assert!(found.contains(expected) && !found.contains("hunter2"), "{found}");
    }
    let found = refused(&[("MIRRORKEEPER_REPO_USERNAME", "me"), ("MIRRORKEEPER_REPO_USERNAME_FILE", "/u")]);
    assert!(found.contains("repo-username-file is set too"), "{found}");
    let found = refused(&[("MIRRORKEEPER_REPO", "git@h:x"), ("MIRRORKEEPER_REPO_CA_FILE", "/ca")]);
    assert!(found.contains("it is for https"), "{found}");
}

#[test]
fn commands_ask_the_address_that_the_daemon_listens_on() {
    let url = |listen: &str| default_url(&[("MIRRORKEEPER_LISTEN".to_owned(), listen.to_owned())], None).unwrap();
    assert_eq!(default_url(&[], None).unwrap(), "http://127.0.0.1:8083");
    assert_eq!(url("0.0.0.0:9000"), "http://127.0.0.1:9000");
    assert_eq!(url("[::]:9000"), "http://[::1]:9000");
    assert_eq!(url("mk.local:80"), "http://mk.local:80");
}

#[test]
fn values_in_their_units() {
    use super::values::*;
    let seconds = |text| duration(text).map(|d| d.as_secs()).ok();
    assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
    for (text, want) in [("30s", 30), ("2h", 7_200), ("1h30m", 5_400), ("1h 30m", 5_400), ("1d", 86_400), ("5min", 300)]
    {
        assert_eq!(seconds(text), Some(want), "{text}");
    }
    for text in ["", "30", "s", "-3s", "1.5s", "3 weeks", "99999999999999999999s", "999999999999999999d"] {
        assert_eq!(seconds(text), None, "{text}");
    }
    for (text, want) in [("64MiB", 64 << 20), ("64Mi", 64 << 20), ("1 GiB", 1 << 30), ("8388608", 8 << 20)] {
        assert_eq!(size(text), Ok(want), "{text}");
    }
    for text in ["", "MiB", "1KiB", "64XB", "-1MiB", "99999999999GiB"] {
        assert!(size(text).is_err(), "{text}");
    }
    let limits = |text| max_deletes(text).map(|m| (m.count, m.percent)).ok();
    assert_eq!(limits("5"), Some((5, 20)));
    assert_eq!(limits("50%"), Some((3, 50)));
    assert_eq!(limits("0, 0%"), Some((0, 0)));
    assert_eq!(limits("10%,7"), Some((7, 10)));
    for text in ["", "3,4", "20%,30%", "101%", "-1", "a"] {
        assert_eq!(limits(text), None, "{text}");
    }
    for text in ["[::1]:8083", "localhost:0", "0.0.0.0:8083"] {
        assert!(address(text).is_ok(), "{text}");
    }
    for text in ["8083", ":8083", "host", "host:99999", "::1:8083", "http://host:80", "a b:1"] {
        assert!(address(text).is_err(), "{text}");
    }
    assert_eq!(root("./a/b/"), Ok("a/b".to_owned()));
    assert_eq!(root("."), Ok(String::new()));
    for text in ["/a", "../a", "a/../b", "a//b", ""] {
        assert!(root(text).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever stands in the file, it is read or refused, and never panics.
    #[test]
    fn any_file_is_read_or_refused(text in "\\PC{0,80}") {
        let _ = load(&[], &[], &text);
    }

    /// A written duration is read back.
    #[test]
    fn durations_are_read_back(hours in 0u64..1000, minutes in 0u64..1000, millis in 0u64..100_000) {
        let text = format!("{hours}h{minutes}m{millis}ms");
        prop_assert_eq!(values::duration(&text).unwrap(), Duration::from_millis(hours * 3_600_000 + minutes * 60_000 + millis));
    }
}
