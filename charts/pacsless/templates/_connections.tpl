{{/*
What a container is connected to, by what it uses (Use in pacsless/functions.py):
environment, mounts and volumes, and nothing of what it does not use.
*/}}
{{- define "pacsless.kafka.servers" -}}
{{- if eq .Values.kafka.source "embedded" -}}
{{ include "pacsless.host" (dict "root" . "name" "kafka") }}:9092
{{- else if eq .Values.kafka.source "strimzi" -}}
{{ include "pacsless.fullname" . }}-kafka-bootstrap.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:9092
{{- else -}}
{{- join "," .Values.kafka.bootstrapServers -}}
{{- end -}}
{{- end -}}

{{/* Name and key of the Secret of a store: (dict "root" $ "store" "postgres"). */}}
{{- define "pacsless.secretKeyRef" -}}
{{- $own := get .root.Values .store -}}
{{- if and (eq .store "postgres") (eq $own.source "cloudnativepg") -}}
name: {{ include "pacsless.fullname" .root }}-postgres-app
key: uri
{{- else -}}
name: {{ $own.existingSecret | default (printf "%s-%s" (include "pacsless.fullname" .root) .store) }}
key: {{ $own.existingSecretKey }}
{{- end -}}
{{- end -}}

{{/* Environment of whoever uses these: root, uses. */}}
{{- define "pacsless.environment" -}}
{{- $values := .root.Values -}}
- name: PACSLESS_LOG_LEVEL
  value: {{ $values.logLevel }}
- name: PACSLESS_TENANT
  value: {{ $values.tenant }}
{{- if $values.trust.existingSecret }}
# OpenSSL's, and boto3's, which has authorities of its own.
{{- range list "SSL_CERT_FILE" "AWS_CA_BUNDLE" }}
- name: {{ . }}
  value: /etc/pacsless/trust/ca.crt
{{- end }}
{{- end }}
{{- if or (has "archive" .uses) (has "archive-read" .uses) }}
- name: PACSLESS_ARCHIVE
  {{- if eq $values.archive.source "s3" }}
  value: {{ printf "s3://%s/%s" $values.archive.s3.bucket $values.archive.s3.prefix | trimSuffix "/" | quote }}
  {{- else }}
  value: file:///data/archive
  {{- end }}
- name: PACSLESS_SPOOL
  value: {{ has "spool" .uses | ternary "/spool" "/tmp/spool" }}
{{- if eq $values.archive.source "s3" }}
{{- with $values.archive.s3.endpoint }}
- name: PACSLESS_S3_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with $values.archive.s3.region }}
- name: AWS_REGION
  value: {{ . }}
- name: AWS_DEFAULT_REGION
  value: {{ . }}
{{- end }}
{{- with $values.archive.s3.existingSecret }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $values.archive.s3.existingSecret }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if has "kafka" .uses }}
- name: PACSLESS_KAFKA
  value: {{ include "pacsless.kafka.servers" .root | quote }}
{{- if $values.kafka.tls }}
- name: PACSLESS_KAFKA_TLS
  value: "true"
{{- end }}
{{- end }}
{{- if has "postgres" .uses }}
- name: PACSLESS_POSTGRES
  valueFrom:
    secretKeyRef:
      {{- include "pacsless.secretKeyRef" (dict "root" .root "store" "postgres") | nindent 6 }}
{{- end }}
{{- if has "redis" .uses }}
- name: PACSLESS_REDIS
  {{- if eq $values.redis.source "none" }}
  value: ""
  {{- else }}
  valueFrom:
    secretKeyRef:
      {{- include "pacsless.secretKeyRef" (dict "root" .root "store" "redis") | nindent 6 }}
  {{- end }}
{{- end }}
{{- if has "doris" .uses }}
{{- include "pacsless.environment.doris" .root | nindent 0 }}
{{- end }}
{{- if has "pseudonyms" .uses }}
- name: PACSLESS_PSEUDONYM_KEY
  value: /etc/pacsless/pseudonyms/key
{{- end }}
{{- end -}}

{{/* Where Doris is: JSON, as the values of an external one have it. */}}
{{- define "pacsless.doris" -}}
{{- $doris := .Values.doris -}}
{{- if eq $doris.source "external" -}}
{{- pick $doris "frontEnd" "mysql" "redirectHosts" | toJson -}}
{{- else -}}
{{- $frontEnd := include "pacsless.host" (dict "root" . "name" "warehouse") -}}
{{- $backEnds := $frontEnd -}}
{{- if eq $doris.source "doris-operator" -}}
{{- $frontEnd = include "pacsless.host" (dict "root" . "name" "doris-fe-service") -}}
{{- $backEnds = printf ".%s" (include "pacsless.host" (dict "root" . "name" "doris-be-internal")) -}}
{{- end -}}
{{- dict "frontEnd" (printf "http://%s:8030" $frontEnd) "mysql" (printf "%s:9030" $frontEnd) "redirectHosts" (list (printf "%s:8040" $backEnds)) | toJson -}}
{{- end -}}
{{- end -}}

{{- define "pacsless.environment.doris" -}}
{{- $doris := .Values.doris -}}
{{- $at := include "pacsless.doris" . | fromJson -}}
- name: PACSLESS_DORIS
  value: {{ $at.frontEnd | quote }}
- name: PACSLESS_DORIS_MYSQL
  value: {{ $at.mysql | quote }}
- name: PACSLESS_DORIS_REDIRECT_HOSTS
  value: {{ join "," $at.redirectHosts | quote }}
- name: PACSLESS_DORIS_DATABASE
  value: {{ $doris.database }}
- name: PACSLESS_DORIS_USER
  value: {{ $doris.user | quote }}
- name: PACSLESS_DORIS_PASSWORD
  valueFrom:
    secretKeyRef:
      {{- include "pacsless.secretKeyRef" (dict "root" . "store" "doris") | nindent 6 }}
{{- end -}}

{{/* What checks tokens is told whose; nobody else needs it. */}}
{{- define "pacsless.environment.oauth2" -}}
{{- with .Values.oauth2 }}
{{- if .issuer }}
- name: PACSLESS_OAUTH2_ISSUER
  value: {{ .issuer | quote }}
- name: PACSLESS_OAUTH2_AUDIENCE
  value: {{ .audience | quote }}
- name: PACSLESS_OAUTH2_TENANT_CLAIM
  value: {{ .tenantClaim | quote }}
- name: PACSLESS_OAUTH2_READ_SCOPE
  value: {{ .readScope | quote }}
- name: PACSLESS_OAUTH2_STORE_SCOPE
  value: {{ .storeScope | quote }}
- name: PACSLESS_OAUTH2_DELETE_SCOPE
  value: {{ .deleteScope | quote }}
- name: PACSLESS_OAUTH2_CLIENT
  value: {{ .client | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "pacsless.trustMount" -}}
{{- if .Values.trust.existingSecret }}
- name: trust
  mountPath: /etc/pacsless/trust
  readOnly: true
{{- end }}
{{- end -}}

{{- define "pacsless.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- include "pacsless.trustMount" .root }}
{{- if and (eq .root.Values.archive.source "volume") (or (has "archive" .uses) (has "archive-read" .uses)) }}
- name: archive
  mountPath: /data
  readOnly: {{ not (has "archive" .uses) }}
{{- end }}
{{- if has "spool" .uses }}
- name: spool
  mountPath: /spool
{{- end }}
{{- if has "pseudonyms" .uses }}
- name: pseudonyms
  mountPath: /etc/pacsless/pseudonyms
  readOnly: true
{{- end }}
{{- end -}}

{{/* The volumes of these mounts, but for the spool, which is the gateway's. */}}
{{- define "pacsless.volumes" -}}
- name: tmp
  emptyDir: {}
{{- with .root.Values.trust.existingSecret }}
- name: trust
  secret:
    secretName: {{ . }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- if and (eq .root.Values.archive.source "volume") (or (has "archive" .uses) (has "archive-read" .uses)) }}
- name: archive
  persistentVolumeClaim:
    claimName: {{ .root.Values.archive.volume.existingClaim | default (printf "%s-archive" (include "pacsless.fullname" .root)) }}
{{- end }}
{{- if has "pseudonyms" .uses }}
- name: pseudonyms
  secret:
    secretName: {{ .root.Values.pseudonyms.existingSecret | default (printf "%s-pseudonyms" (include "pacsless.fullname" .root)) }}
    items:
      - key: {{ .root.Values.pseudonyms.existingSecretKey }}
        path: key
{{- end }}
{{- end -}}
