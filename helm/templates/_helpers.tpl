{{/* Every object's name. A release's name is unique in its namespace, so two releases share none. */}}
{{- define "mirrorkeeper.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mirrorkeeper.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mirrorkeeper.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mirrorkeeper.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mirrorkeeper.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "mirrorkeeper.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "mirrorkeeper.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "mirrorkeeper.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* One value under two names: (list root "environment" "env" "what it is"). Empty or different is a mistake. */}}
{{- define "mirrorkeeper.either" -}}
{{- $root := index . 0 -}}
{{- $ours := get $root.Values (index . 1) -}}
{{- $theirs := get $root.Values (index . 2) -}}
{{- if and $ours $theirs (ne (toString $ours) (toString $theirs)) -}}
{{- fail (printf "%s is %q and %s is %q: they are two names of one value, give one of them" (index . 1) (toString $ours) (index . 2) (toString $theirs)) -}}
{{- end -}}
{{- $value := $ours | default $theirs -}}
{{- if not $value -}}
{{- fail (printf "%s is missing: %s (--set %s=...)" (index . 1) (index . 3) (index . 1)) -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{- define "mirrorkeeper.environment" -}}
{{- include "mirrorkeeper.either" (list . "environment" "env" "the first folder level below the root, connectors/<environment>/<destination>/<source>/") -}}
{{- end -}}

{{- define "mirrorkeeper.destination" -}}
{{- include "mirrorkeeper.either" (list . "destination" "destination_cluster" "the second folder level below the root, connectors/<environment>/<destination>/<source>/") -}}
{{- end -}}

{{/* The source folders as a JSON list, which is a TOML list too. */}}
{{- define "mirrorkeeper.sources" -}}
{{- $sources := .Values.source | default .Values.source_cluster | default list -}}
{{- if kindIs "string" $sources -}}
{{- $sources = splitList "," $sources -}}
{{- end -}}
{{- $names := list -}}
{{- range $sources -}}
{{- if trim . -}}{{- $names = append $names (trim .) -}}{{- end -}}
{{- end -}}
{{- toRawJson $names -}}
{{- end -}}

{{- define "mirrorkeeper.repo" -}}
{{- if not .Values.repo -}}
{{- fail "repo is missing: the Git repository with the connector files (--set repo=https://git.example.com/team/mirrors.git)" -}}
{{- end -}}
{{- if regexMatch "^[a-zA-Z+]+://[^/@]*:[^/@]*@" .Values.repo -}}
{{- fail "repo holds a password: put it in a Secret and name that in git.existingSecret and git.tokenKey" -}}
{{- end -}}
{{- if regexMatch "://[^/]*@" .Values.git.proxy -}}
{{- fail "git.proxy holds a user or password: put the URL in a Secret and name that in git.existingSecret and git.proxyKey" -}}
{{- end -}}
{{- if ne (empty .Values.git.clientCertKey) (empty .Values.git.clientKeyKey) -}}
{{- fail "git.clientCertKey and git.clientKeyKey go together: a certificate and its private key" -}}
{{- end -}}
{{- if and (regexMatch "^(ssh://|[^/:]+@[^/:]+:)" .Values.repo) (not .Values.git.knownHosts) (not (and .Values.git.existingSecret .Values.git.knownHostsKey)) -}}
{{- fail "repo is reached by ssh, and no host key is known: set git.knownHosts (--set-file git.knownHosts=known_hosts) or git.existingSecret and git.knownHostsKey" -}}
{{- end -}}
{{- .Values.repo -}}
{{- end -}}

{{/* Whether the worker's properties come from anywhere: content, existingConfigMap, existingSecret, or nothing. */}}
{{- define "mirrorkeeper.workerConfig" -}}
{{- $given := list -}}
{{- range list "content" "existingConfigMap" "existingSecret" -}}
{{- if get $.Values.workerConfig . -}}{{- $given = append $given . -}}{{- end -}}
{{- end -}}
{{- if gt (len $given) 1 -}}
{{- fail (printf "workerConfig has %s: give one of them" (join " and " $given)) -}}
{{- end -}}
{{- join "" $given -}}
{{- end -}}

{{- define "mirrorkeeper.tokenSecret" -}}
{{- .Values.api.existingSecret | default (printf "%s-api-token" (include "mirrorkeeper.fullname" .)) -}}
{{- end -}}

{{/* The setting `grace` in whole seconds, rounded up. */}}
{{- define "mirrorkeeper.graceSeconds" -}}
{{- $ms := 0 -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "min" 60000 "h" 3600000 "d" 86400000 -}}
{{- range regexFindAll "[0-9]+(ms|s|min|m|h|d)" (get .Values.settings "grace" | default "25s") -1 -}}
{{- $ms = add $ms (mul (regexFind "^[0-9]+" . | int) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- div (add $ms 999) 1000 -}}
{{- end -}}

{{/* The hosts of the Ingress as JSON: [{host, paths}]; those without a name are left out. */}}
{{- define "mirrorkeeper.ingressHosts" -}}
{{- $hosts := list -}}
{{- range .Values.ingress.hosts -}}
{{- $host := tpl (.host | default "") $ -}}
{{- if $host -}}
{{- $hosts = append $hosts (dict "host" $host "paths" (.paths | default (list (dict "path" "/" "pathType" "Prefix")))) -}}
{{- end -}}
{{- end -}}
{{- dict "hosts" $hosts | toRawJson -}}
{{- end -}}
