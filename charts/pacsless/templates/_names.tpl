{{/*
Name of everything of this release; `pacsless` for a release of that name. A CronJob's
has 52 characters, and `-reconcile-timer` is 16.
*/}}
{{- define "pacsless.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a component: (dict "root" $ "component" "nginx"). */}}
{{- define "pacsless.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "pacsless.labels" -}}
{{ include "pacsless.selector" . }}
app.kubernetes.io/part-of: pacsless
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* metadata of an object: root, component, and name if it is not the component's. */}}
{{- define "pacsless.metadata" -}}
name: {{ include "pacsless.fullname" .root }}-{{ .name | default .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "pacsless.labels" . | nindent 2 }}
{{- end -}}

{{/* Image of a deployable: (dict "root" $ "name" "extract-tags"). */}}
{{- define "pacsless.image" -}}
{{- $image := .root.Values.image -}}
image: {{ printf "%s/%s:%s" (trimSuffix "/" $image.registry) .name ($image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end -}}

{{- define "pacsless.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "pacsless.fullname" .) "default") -}}
{{- end -}}

{{/* Name that others in any namespace have for a Service: root, name. */}}
{{- define "pacsless.host" -}}
{{ include "pacsless.fullname" .root }}-{{ .name }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}
{{- end -}}
