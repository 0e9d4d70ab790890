{{/*
A store of the chart's own, one pod with a volume that outlives the release: root,
name, values (storage, resources), env, ports (name to number), probe (port).
*/}}
{{- define "pacsless.embedded" -}}
{{- $common := dict "root" .root "component" .name -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "pacsless.metadata" $common | nindent 2 }}
spec:
  replicas: 1
  # In order, a pod whose image is not there would have to be ready before a rollback replaced it.
  podManagementPolicy: Parallel
  serviceName: {{ include "pacsless.fullname" .root }}-{{ .name }}
  selector:
    matchLabels:
      {{- include "pacsless.selector" $common | nindent 6 }}
  template:
    metadata:
      {{- include "pacsless.podMetadata" $common | nindent 6 }}
    spec:
      {{- include "pacsless.pod" $common | nindent 6 }}
      terminationGracePeriodSeconds: 60
      containers:
        - name: {{ .name }}
          {{- include "pacsless.image" (dict "root" .root "name" .name) | nindent 10 }}
          {{- include "pacsless.containerSecurity" . | nindent 10 }}
          ports:
            {{- range $name, $port := .ports }}
            - name: {{ $name }}
              containerPort: {{ $port }}
            {{- end }}
          {{- with .env }}
          env:
            {{- . | nindent 12 }}
          {{- end }}
          readinessProbe:
            tcpSocket:
              port: {{ .probe }}
            periodSeconds: 2
          startupProbe:
            tcpSocket:
              port: {{ .probe }}
            periodSeconds: 2
            failureThreshold: 150
          livenessProbe:
            tcpSocket:
              port: {{ .probe }}
            periodSeconds: 10
            failureThreshold: 6
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            - name: data
              mountPath: /data
      volumes:
        - name: tmp
          emptyDir: {}
        {{- if not .values.storage }}
        - name: data
          emptyDir: {}
        {{- end }}
  {{- if .values.storage }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata:
        name: data
      spec:
        {{- include "pacsless.claim" .values.storage | nindent 8 }}
  {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "pacsless.metadata" $common | nindent 2 }}
spec:
  selector:
    {{- include "pacsless.selector" $common | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $name }}
    {{- end }}
{{- end -}}

{{/* A password: the one there is, else a new one: root, secret, key. */}}
{{- define "pacsless.kept" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .secret | default dict -}}
{{- $data := get $found "data" | default dict -}}
{{- if get $data .key -}}
{{- get $data .key | b64dec -}}
{{- else -}}
{{- randAlphaNum 32 -}}
{{- end -}}
{{- end -}}

{{/* A Secret that is made once and kept, as what it opens is: root, name, data. */}}
{{- define "pacsless.keptSecret" -}}
apiVersion: v1
kind: Secret
metadata:
  {{- include "pacsless.metadata" (dict "root" .root "component" .name) | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
stringData:
  {{- range $key, $value := .data }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- end -}}
