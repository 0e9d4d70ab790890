{{/* What the gateway is told. */}}
{{- define "pacsless.gatewayEnvironment" -}}
{{- $gateway := .Values.gateway -}}
{{ include "pacsless.environment" (dict "root" . "uses" (list "archive" "spool" "kafka" "postgres")) }}
- name: PACSLESS_GATEWAY_HOST
  value: 0.0.0.0
- name: PACSLESS_GATEWAY_PORT
  value: {{ $gateway.plain | ternary "11112" "-1" | quote }}
- name: PACSLESS_GATEWAY_ADMIN_PORT
  value: "8081"
- name: PACSLESS_GATEWAY_PROCESSES
  value: {{ int $gateway.processes | quote }}
- name: PACSLESS_GATEWAY_STOP_SECONDS
  value: {{ int $gateway.stopSeconds | quote }}
{{- if $gateway.aeFile }}
- name: PACSLESS_GATEWAY_AE_FILE
  value: /etc/pacsless/gateway/ae.toml
{{- else }}
{{- $titles := list }}
{{- range $title, $tenant := $gateway.aeTitles }}
{{- $titles = append $titles (printf "%s=%s" $title $tenant) }}
{{- end }}
- name: PACSLESS_GATEWAY_AE_TITLES
  value: {{ join "," $titles | quote }}
{{- end }}
{{- if $gateway.tls.enabled }}
- name: PACSLESS_GATEWAY_TLS_PORT
  value: "2762"
- name: PACSLESS_GATEWAY_TLS_CERTIFICATE
  value: /etc/pacsless/tls/tls.crt
- name: PACSLESS_GATEWAY_TLS_KEY
  value: /etc/pacsless/tls/tls.key
{{- if $gateway.tls.clientCertificates }}
- name: PACSLESS_GATEWAY_TLS_CLIENT_CA
  value: /etc/pacsless/tls/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* Title that `helm test` calls; empty if it cannot, as it has no certificate and no token. */}}
{{- define "pacsless.checked" -}}
{{- $called := .Values.check.calledAet -}}
{{- range $title, $tenant := .Values.gateway.aeTitles -}}
{{- if and (eq $tenant $.Values.tenant) (not $called) (not $.Values.gateway.aeFile) -}}
{{- $called = $title -}}
{{- end -}}
{{- end -}}
{{- if and .Values.gateway.plain (not .Values.oauth2.issuer) -}}
{{- $called -}}
{{- end -}}
{{- end -}}
