{{/* Spec of a Job that brings schema, topics and tables up to date. */}}
{{- define "pacsless.setupPod" -}}
{{- $common := dict "root" . "component" "setup" -}}
{{- $steps := list (list "migrate") (list "topics" (printf "--partitions=%d" (int .Values.kafka.partitions))) -}}
{{- $stores := list "kafka" "postgres" -}}
{{- if ne .Values.doris.source "embedded" -}}
{{- $steps = append $steps (list "tables") -}}
{{- $stores = append $stores "doris" -}}
{{- end -}}
{{- $steps = prepend $steps (concat (list "wait-for" "--timeout=300") $stores) -}}
backoffLimit: 10
# Longer than any migration; or one that can never end would outlive its release.
activeDeadlineSeconds: 7200
template:
  metadata:
    {{- include "pacsless.podMetadata" $common | nindent 4 }}
  spec:
    {{- include "pacsless.pod" $common | nindent 4 }}
    restartPolicy: OnFailure
    initContainers:
      {{- range initial $steps }}
      -
        {{- include "pacsless.setupStep" (dict "root" $ "arguments" . "uses" $stores) | nindent 8 }}
      {{- end }}
    containers:
      -
        {{- include "pacsless.setupStep" (dict "root" . "arguments" (last $steps) "uses" $stores) | nindent 8 }}
    volumes:
      {{- include "pacsless.volumes" (dict "root" . "uses" $stores) | nindent 6 }}
{{- end -}}

{{- define "pacsless.setupStep" -}}
name: {{ first .arguments }}
{{ include "pacsless.image" (dict "root" .root "name" "pacsless") }}
{{ include "pacsless.containerSecurity" . }}
args:
  {{- toYaml .arguments | nindent 2 }}
env:
  {{- include "pacsless.environment" (dict "root" .root "uses" .uses) | nindent 2 }}
resources:
  {{- toYaml .root.Values.jobs.resources | nindent 2 }}
volumeMounts:
  {{- include "pacsless.mounts" . | nindent 2 }}
{{- end -}}
