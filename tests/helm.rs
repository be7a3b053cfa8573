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
            skipped("helm");
            None
        }
        Err(error) => panic!("helm can't be run: {error}"),
    }
}

#[expect(clippy::print_stderr, reason = "a test that did nothing says so")]
fn skipped(lacks: &str) {
    eprintln!("skipped: needs {lacks}");
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
        // The others' names are this one's with an ending that an object of this one might have.
        let Some(one) = rendered("mirrors", values, &[]) else { return };
        let names = objects(&one);
        assert!(names.len() >= 5, "{names:?}");
        let mut texts = vec![one];
        for ending in ["mirrorkeeper", "worker", "config", "api-token", "api", "git", "0"] {
            let Some(other) = rendered(&format!("mirrors-{ending}"), values, &[]) else { return };
            let others = objects(&other);
            assert!(names.is_disjoint(&others), "{names:?}\n{others:?}");
            texts.push(other);
        }
        for text in &texts {
            let selectors =
                text.lines().filter(|line| line.ends_with("selector:") || line.ends_with("matchLabels:")).count();
            let instances = text.matches("app.kubernetes.io/instance: mirrors").count();
            assert!(selectors > 0 && instances >= selectors, "{selectors} selectors, {instances} instances");
        }
    }
}

#[test]
fn a_workers_file_reaches_the_pod_as_it_is() {
    let Some(text) = rendered("mirrors", "everything", &[]) else { return };
    assert_eq!(value(&text, "worker-config = "), "\"/etc/mirrorkeeper/config/worker.properties\"");
    let file: String = serde_json::from_str(value(&text, "worker.properties: ")).expect("a JSON string is YAML");
    assert_eq!(
        file,
        "group.id=connect-cluster-mm2\n# a comment with \"quotes\" and a back\\slash\noffset.storage.topic=connect-offsets\n"
    );
    for kind in ["existingSecret", "existingConfigMap"] {
        let sets = [&*format!("workerConfig.{kind}=theirs"), "workerConfig.key=w.properties"];
        let Some(text) = rendered("mirrors", "minimal", &sets) else { return };
        assert_eq!(value(&text, "worker-config = "), "\"/etc/mirrorkeeper/worker/w.properties\"");
        assert_eq!(value(&text, "mountPath: /etc/mirrorkeeper/worker"), "");
        assert!(text.contains("ame: theirs"), "{text}");
    }
}

#[test]
fn the_made_token_is_kept_over_an_upgrade() {
    // What helm asks a cluster's API for, answered by hand. Not shown by this: an upgrade in a real cluster.
    let kept = "a2VwdA==";
    let cluster = api_server(kept);
    let token = |release: &str, namespace: &str| {
        let args = ["template", release, "helm", "-n", namespace, "-f", "tests/helm/minimal.yaml", "--dry-run=server"];
        let output = helm(&[&args[..], &["--kube-apiserver", &cluster, "-s", "templates/secret.yaml"]].concat())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(if output.status.success() { Ok(value(&text, "token: ").to_owned()) } else { Err(output.stderr) })
    };
    let Some(found) = token("mirrors", "data") else { return };
    assert_eq!(found.as_deref(), Ok(kept), "it is there: it stays");
    let (one, other) = (token("other", "data").unwrap().unwrap(), token("other", "data").unwrap().unwrap());
    assert!(one != kept && one != other && one.len() == 64, "it is not there: {one} and {other} are made");
    // Who may not look can't know that there is none.
    let refused = token("mirrors", "forbidden").unwrap().expect_err("a new token was made");
    assert!(String::from_utf8_lossy(&refused).contains("forbidden"), "{}", String::from_utf8_lossy(&refused));
}

/// A Kubernetes API with one Secret, `mirrors-api-token` in namespace `data`; it ends with the test.
fn api_server(token: &str) -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let secret = format!(
        r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"mirrors-api-token","namespace":"data"}},"data":{{"token":"{token}"}}}}"#
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let path = request.split([' ', '?']).nth(1).unwrap_or_default();
            let (status, body) = match path {
                "/version" => ("200 OK", r#"{"major":"1","minor":"30","gitVersion":"v1.30.0"}"#),
                "/api/v1" => (
                    "200 OK",
                    r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"secrets","singularName":"","namespaced":true,"kind":"Secret","verbs":["get"]}]}"#,
                ),
                "/api/v1/namespaces/data/secrets/mirrors-api-token" => ("200 OK", secret.as_str()),
                path if path.contains("/forbidden/") => (
                    "403 Forbidden",
                    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"secrets is forbidden","code":403}"#,
                ),
                _ => (
                    "404 Not Found",
                    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#,
                ),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
            let _ = write!(stream, "{head}Connection: close\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn kubernetes_takes_what_is_rendered() {
    for (values, sets) in [("minimal", Vec::new()), ("everything", Vec::new()), ("mirror-maker", mirror_maker())] {
        let Some(text) = rendered("mirrors", values, &sets) else { return };
        // The Prometheus operator's kinds are not Kubernetes' own.
        let own: Vec<&str> = text.split("\n---\n").filter(|object| !object.contains("kind: ServiceMonitor")).collect();
        let file = std::env::temp_dir().join(format!("mirrorkeeper-{}-{values}.yaml", std::process::id()));
        std::fs::write(&file, own.join("\n---\n")).expect("the temporary folder can be written");
        for version in ["1.25", "1.33"] {
            let path = file.display().to_string();
            let run = Command::new("kubernetes-validate").args(["--strict", "-k", version, &path]).output();
            let output = match run {
                Ok(output) => output,
                Err(error) if error.kind() == ErrorKind::NotFound => return skipped("kubernetes-validate"),
                Err(error) => panic!("kubernetes-validate can't be run: {error}"),
            };
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{values} in {version}:\n{said}");
        }
        std::fs::remove_file(&file).expect("it was just written");
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
