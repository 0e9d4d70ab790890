{{/* What all pods have: (dict "root" $ "component" "nginx"). */}}
{{- define "pacsless.pod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "pacsless.serviceAccountName" .root }}
automountServiceAccountToken: false
# Variables as PACSLESS_GATEWAY_SERVICE_HOST would be taken for settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "pacsless.selector" . | nindent 8 }}
{{- end -}}

{{- define "pacsless.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* labels and annotations of a pod template: root, component, and configuration it is to be restarted for. */}}
{{- define "pacsless.podMetadata" -}}
labels:
  {{- include "pacsless.labels" . | nindent 2 }}
  {{- with .root.Values.pod.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := deepCopy (.root.Values.pod.annotations | default dict) }}
{{- with .configuration }}
{{- $_ := set $annotations "pacsless.org/configuration" (sha256sum .) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Resources of a function's container: its memory limit is that of its worker, who
ends a batch at it, and what the server and the trigger take.
*/}}
{{- define "pacsless.functionResources" -}}
{{- $set := deepCopy .set -}}
{{- $limits := $set.resources.limits | default dict -}}
{{- if and $set.memoryLimitMb (not (hasKey $limits "memory")) -}}
{{- $_ := set $limits "memory" (printf "%dMi" (add (int $set.memoryLimitMb) 512)) -}}
{{- end -}}
resources:
  requests:
    {{- toYaml $set.resources.requests | nindent 4 }}
  {{- with $limits }}
  limits:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Spec of a claim: a dict with accessMode, size and storageClass. */}}
{{- define "pacsless.claim" -}}
accessModes: [{{ .accessMode | default "ReadWriteOnce" }}]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}
