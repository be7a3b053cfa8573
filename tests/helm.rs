//! The chart: it renders what it promises, from our values and from those of a MirrorMaker chart.
//!
//! These tests need `helm`; without it they say so and pass. They look at text: the chart's templates write one key a
//! line.

#![expect(clippy::disallowed_methods, reason = "helm is a program, and tests may run programs")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::process::{Command, Output};

use mirrorkeeper::settings::{Partial, Settings, setting};

/// What a release needs, beside a MirrorMaker chart's values.
const OURS: [&str; 3] = [
    "repo=https://git.example.com/team/mirrors.git",
    "image.repository=images.example.com/mirrorkeeper",
    "image.tag=0.1.0",
];
/// What a MirrorMaker chart's release is told on the command line.
const THEIRS: [&str; 3] = ["env=staging", "destination_cluster=stg-ue2", "source_cluster=cfnstg"];

/// Runs helm in the repository's folder; `None`: it is not installed.
fn helm(args: &[&str]) -> Option<Output> {
    match Command::new("helm").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skipped();
            None
        }
        Err(error) => panic!("helm can't be run: {error}"),
    }
}

#[expect(clippy::print_stderr, reason = "a test that did nothing says so")]
fn skipped() {
    eprintln!("skipped: needs helm");
}

/// `helm VERB ... -f tests/helm/VALUES.yaml --set ...`
fn with_values(verb: &[&str], values: &str, sets: &[&str]) -> Option<Output> {
    let file = format!("tests/helm/{values}.yaml");
    let mut args = verb.to_vec();
    args.extend(["-f", &file]);
    for set in sets {
        args.extend(["--set", set]);
    }
    helm(&args)
}

/// The objects that a release makes.
fn rendered(release: &str, values: &str, sets: &[&str]) -> Option<String> {
    let output = with_values(&["template", release, "helm", "--namespace", "data"], values, sets)?;
    assert!(output.status.success(), "{values} does not render:\n{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("helm writes text"))
}

/// Why a release is refused.
fn refused(values: &str, sets: &[&str]) -> Option<String> {
    let output = with_values(&["template", "mirrors", "helm"], values, sets)?;
    assert!(!output.status.success(), "{sets:?} was taken");
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn mirror_maker() -> Vec<&'static str> {
    OURS.into_iter().chain(THEIRS).collect()
}

/// Every values file here, with what it needs beside it.
fn value_files() -> [(&'static str, Vec<&'static str>); 4] {
    [("minimal", Vec::new()), ("everything", Vec::new()), ("https", Vec::new()), ("mirror-maker", mirror_maker())]
}

/// `kind/name` of every object.
fn objects(manifests: &str) -> BTreeSet<String> {
    manifests
        .split("\n---\n")
        .filter_map(|object| {
            let kind = object.lines().find_map(|line| line.strip_prefix("kind: "))?;
            let name = object.lines().find_map(|line| line.strip_prefix("  name: "))?;
            Some(format!("{kind}/{name}"))
        })
        .collect()
}

/// The one line that has `key`, without the key and the white space around it.
#[track_caller]
fn value<'a>(manifests: &'a str, key: &str) -> &'a str {
    let mut found = manifests.lines().filter_map(|line| line.trim_start().strip_prefix(key));
    let value = found.next().unwrap_or_else(|| panic!("no {key} in:\n{manifests}"));
    assert_eq!(found.next(), None, "{key} is there twice");
    value.trim()
}

/// The settings file in the ConfigMap.
fn settings_file(manifests: &str) -> String {
    let lines = manifests.lines().skip_while(|line| *line != "  settings.toml: |").skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}

#[test]
fn the_daemon_reads_the_settings_that_the_chart_writes() {
    for (values, sets) in value_files() {
        let Some(text) = rendered("mirrors", values, &sets) else { return };
        let file = settings_file(&text);
        let loaded = Settings::load(Partial::default(), std::iter::empty(), Some(("settings.toml", &file)));
        let settings = loaded.unwrap_or_else(|problems| panic!("{values}: {problems:?}\n{file}"));
        assert_eq!(settings.listen, "0.0.0.0:8083", "{values}");
        if values == "everything" {
            assert_eq!(settings.sources, ["cfn-prod", "legacy.1"]);
            assert_eq!(settings.client.get("security.protocol").map(String::as_str), Some("SASL_SSL"));
        }
    }
}

#[test]
fn the_schema_of_values_knows_only_settings_of_the_daemon() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../helm/values.schema.json")).expect("the schema is JSON");
    let names = schema["properties"]["settings"]["properties"].as_object().expect("an object");
    for name in names.keys() {
        assert!(setting(name).is_some(), "{name}");
    }
}

#[test]
fn lints_without_a_warning() {
    for (values, sets) in value_files() {
        let Some(output) = with_values(&["lint", "--strict", "helm"], values, &sets) else { return };
        assert!(output.status.success(), "{values}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_mirror_maker_charts_values_make_a_release() {
    let Some(text) = rendered("mm2-cfnstg-to-stg-ue2", "mirror-maker", &mirror_maker()) else { return };
    assert_eq!(value(&text, "environment = "), "\"staging\"");
    assert_eq!(value(&text, "destination = "), "\"stg-ue2\"");
    assert_eq!(value(&text, "source = "), "[\"cfnstg\"]");
    assert_eq!(value(&text, "kops.k8s.io/instancegroup: "), "mirror-maker");
    // Their pull secret has an empty name, their Ingress a host without a name.
    assert!(!text.contains("imagePullSecrets"), "{text}");
    assert!(!text.contains("kind: Ingress"), "{text}");
    // Whoever scraped the JMX exporter's port still finds metrics there.
    assert_eq!(value(&text, "port: 5556"), "");
}

#[test]
fn an_ingress_may_be_named_after_source_and_destination() {
    let host =
        "ingress.hosts[0].host=mm2-{{ .Values.source_cluster }}-to-{{ .Values.destination_cluster }}.example.com";
    let mut sets = mirror_maker();
    sets.push(host);
    let Some(text) = rendered("mm2", "mirror-maker", &sets) else { return };
    assert_eq!(value(&text, "- host: "), "\"mm2-cfnstg-to-stg-ue2.example.com\"");
}

#[test]
fn one_process_that_may_do_little() {
    for (values, sets) in value_files() {
        let Some(text) = rendered("mirrors", values, &sets) else { return };
        assert_eq!(value(&text, "replicas: "), "1", "{values}");
        assert_eq!(value(&text, "type: Recreate"), "", "{values}");
        assert_eq!(value(&text, "runAsNonRoot: "), "true", "{values}");
        assert_eq!(value(&text, "readOnlyRootFilesystem: "), "true", "{values}");
        assert_eq!(value(&text, "allowPrivilegeEscalation: "), "false", "{values}");
        // Else a Service named mirrorkeeper would set MIRRORKEEPER_PORT.
        assert_eq!(value(&text, "enableServiceLinks: "), "false", "{values}");
        assert!(!text.contains("automountServiceAccountToken: true"), "{values}");
        assert!(text.contains("automountServiceAccountToken: false"), "{values}");
        // It listens for the Service, so writing needs the token.
        assert_eq!(value(&text, "listen = "), "\"0.0.0.0:8083\"", "{values}");
        assert!(text.contains("name: MIRRORKEEPER_TOKEN_FILE"), "{values}");
        // A pod has a new host name each time; its place is the release's.
        assert_eq!(value(&text, "instance-id = "), "\"data.mirrors\"", "{values}");
    }
}

#[test]
fn a_pod_is_given_more_time_than_it_takes_to_drain() {
    let Some(text) = rendered("mirrors", "minimal", &[]) else { return };
    assert_eq!(value(&text, "terminationGracePeriodSeconds: "), "40");
    let Some(text) = rendered("mirrors", "minimal", &["settings.grace=1m30s"]) else { return };
    assert_eq!(value(&text, "terminationGracePeriodSeconds: "), "105");
    assert_eq!(value(&text, "grace = "), "\"1m30s\"");
}

#[test]
fn releases_in_one_namespace_share_no_name_and_no_pod() {
    for values in ["minimal", "everything"] {
        // One release's name begins with the other's.
        let Some(one) = rendered("mirrors", values, &[]) else { return };
        let Some(other) = rendered("mirrors-mirrorkeeper", values, &[]) else { return };
        let (names, others) = (objects(&one), objects(&other));
        assert!(names.len() >= 5, "{names:?}");
        assert!(names.is_disjoint(&others), "{names:?}\n{others:?}");
        for text in [&one, &other] {
            let selectors =
                text.lines().filter(|line| line.ends_with("selector:") || line.ends_with("matchLabels:")).count();
            let instances = text.matches("app.kubernetes.io/instance: mirrors").count();
            assert!(selectors > 0 && instances >= selectors, "{selectors} selectors, {instances} instances");
        }
    }
}

#[test]
fn no_secret_lands_in_a_config_map() {
    let Some(text) = rendered("mirrors", "everything", &[]) else { return };
    assert!(text.contains("name: MIRRORKEEPER_CLIENT_SASL_JAAS_CONFIG"), "{text}");
    assert!(!text.contains("\"sasl.jaas.config\" ="), "{text}");
    let Some(why) = refused("minimal", &["repo=https://user:hunter2@git.example.com/m.git"]) else { return };
    assert!(why.contains("git.existingSecret") && !why.contains("hunter2"), "{why}");
}

#[test]
fn git_over_https_finds_its_files_where_they_are_mounted() {
    let Some(text) = rendered("mirrors", "https", &[]) else { return };
    for (setting, file) in [
        ("repo-token-file", "git/password"),
        ("repo-username-file", "git/username"),
        ("repo-client-cert-file", "git/tls.crt"),
        ("repo-client-key-file", "git/tls.key"),
        ("repo-ca-file", "config/ca.pem"),
    ] {
        assert_eq!(value(&text, &format!("{setting} = ")), format!("\"/etc/mirrorkeeper/{file}\""));
    }
    assert!(text.contains("  ca.pem: |\n    -----BEGIN CERTIFICATE-----\n"), "{text}");
    assert!(text.contains("name: MIRRORKEEPER_REPO_PROXY"), "{text}");
    let sets = ["git.ca=", "git.caKey=ca.crt", "git.proxy=http://proxy:3128", "git.proxyKey="];
    let Some(text) = rendered("mirrors", "https", &sets) else { return };
    assert_eq!(value(&text, "repo-ca-file = "), "\"/etc/mirrorkeeper/git/ca.crt\"");
    assert_eq!(value(&text, "repo-proxy = "), "\"http://proxy:3128\"");
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    for (set, expected) in [
        ("git.proxy=http://me:hunter2@proxy:3128", "git.proxyKey"),
        ("git.clientCertKey=tls.crt", "go together"),
        ("repo=", "repo is missing"),
        ("environment=", "environment is missing"),
        ("destination=", "destination is missing"),
        ("image.repository=", "image.repository is missing"),
        ("env=production", "environment is \"staging\" and env is \"production\""),
        ("replicaCount=2", "only one process writes"),
        ("repo=git@git.example.com:team/mirrors.git", "no host key is known"),
        ("client.a=b", "without bootstrapServers"),
        ("settings.drfit=off", "drfit"),
        ("destination=a/b", "destination"),
    ] {
        let Some(why) = refused("minimal", &[set]) else { return };
        assert!(why.contains(expected), "{set}: {why}");
    }
}
