{{/* The container that serves a function by HTTP: root, function. */}}
{{- define "pacsless.functionContainer" -}}
{{- $root := .root -}}
{{- $function := .function -}}
{{- $name := $function.kubernetesName -}}
name: {{ $name }}
{{ include "pacsless.image" (dict "root" $root "name" $name) }}
{{ include "pacsless.containerSecurity" . }}
ports:
  - name: {{ .port | default "http" }}
    containerPort: 8080
env:
  {{- include "pacsless.overridden" (dict "given" (include "pacsless.served" (dict "root" $root "function" $function "listen" 8080)) "env" $function.set.env) | nindent 2 }}
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ .port | default "http" }}
  periodSeconds: 5
  timeoutSeconds: 5
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ .port | default "http" }}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
startupProbe:
  httpGet:
    path: /healthz
    port: {{ .port | default "http" }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
lifecycle:
  preStop:
    exec:
      # Until nobody is sent here any more.
      command: [python3.11, -c, "import time; time.sleep(5)"]
{{ include "pacsless.functionResources" $function }}
volumeMounts:
  {{- include "pacsless.mounts" (dict "root" $root "uses" $function.uses) | nindent 2 }}
{{- end -}}

{{/* What a server of a function is told: root, function, and listen, a port, unless Knative says which. */}}
{{- define "pacsless.served" -}}
- name: FUNCTION_TARGET
  value: {{ .function.name }}
- name: FUNCTION_SOURCE
  value: /app/functions/{{ .function.name }}/main.py
# Where gunicorn serves, its control socket is there.
- name: XDG_RUNTIME_DIR
  value: /tmp
{{- with .listen }}
- name: PORT
  value: {{ . | quote }}
{{- end }}
{{- with .function.threads }}
- name: THREADS
  value: {{ int . | quote }}
{{- end }}
{{ include "pacsless.functionEnvironment" . }}
{{- end -}}

{{/* An environment, as text, with what the user sets in place of the same by the chart: given, env. */}}
{{- define "pacsless.overridden" -}}
{{- $own := .env | default dict -}}
{{- $found := list -}}
{{- range .given | fromYamlArray -}}
{{- if not (hasKey $own .name) -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $own -}}
{{- $found = append $found (dict "name" $name "value" (toString $value)) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* What a function is told, whoever starts it: root, function. */}}
{{- define "pacsless.functionEnvironment" -}}
{{- $values := .root.Values -}}
- name: HOST
  value: 0.0.0.0
- name: PACSLESS_MEMORY_LIMIT_MB
  value: {{ int .function.set.memoryLimitMb | quote }}
{{ include "pacsless.environment" (dict "root" .root "uses" .function.uses) }}
{{- if has .function.kind (list "http" "authorization") }}
- name: PACSLESS_DELETE
  value: {{ $values.delete | quote }}
{{- include "pacsless.environment.oauth2" .root }}
{{- end }}
{{- if eq .function.kind "timer" }}
- name: PACSLESS_RECONCILE_REPAIR
  value: {{ $values.reconcile.repair | quote }}
- name: PACSLESS_RECONCILE_SCRUB
  value: {{ $values.reconcile.scrub | quote }}
- name: PACSLESS_RECONCILE_SECONDS
  value: {{ int $values.reconcile.seconds | quote }}
{{- end }}
{{- end -}}

{{/* How an event function is fed and scaled: JSON of what it declares, then the operator's policies. */}}
{{- define "pacsless.policy" -}}
{{- $policy := get .root.Values.policies .function.name | default dict -}}
{{- $found := dict "lag_threshold" .function.lagThreshold "cooldown_s" .function.cooldownSeconds "timeout_s" .function.timeoutSeconds -}}
{{- mergeOverwrite $found (get $policy "trigger" | default dict) (get $policy "scale" | default dict) | toJson -}}
{{- end -}}

{{/* Lag for which one more pod is wanted. */}}
{{- define "pacsless.lagThreshold" -}}
{{- int (include "pacsless.policy" . | fromJson).lag_threshold -}}
{{- end -}}

{{- define "pacsless.cooldown" -}}
{{- int (include "pacsless.policy" . | fromJson).cooldown_s -}}
{{- end -}}

{{/* Seconds a batch may take. */}}
{{- define "pacsless.timeout" -}}
{{- int (ceil (include "pacsless.policy" . | fromJson).timeout_s) -}}
{{- end -}}

{{/* Fewest pods of an event function, by its policy or its value. */}}
{{- define "pacsless.minReplicas" -}}
{{- $policy := include "pacsless.policy" . | fromJson -}}
{{- int (hasKey $policy "min_workers" | ternary $policy.min_workers .function.set.minReplicas) -}}
{{- end -}}

{{/* Most pods: as many as a topic has partitions, or fewer. */}}
{{- define "pacsless.maxReplicas" -}}
{{- $policy := include "pacsless.policy" . | fromJson -}}
{{- $partitions := int .root.Values.kafka.partitions -}}
{{- $wanted := int (hasKey $policy "max_workers" | ternary $policy.max_workers .function.set.maxReplicas) -}}
{{- min ($wanted | default $partitions) $partitions -}}
{{- end -}}

{{/*
The operator's policies of a function as TOML (Helm's toToml writes whole numbers as 100.0):
root, function. A file each, since an image knows its own function alone, and refuses others.
*/}}
{{- define "pacsless.policies" -}}
{{- with get .root.Values.policies .function.name -}}
{{- include "pacsless.policyTable" (dict "name" $.function.name "table" .) -}}
{{- end -}}
{{- end -}}

{{- define "pacsless.policyTable" -}}
{{- $tables := dict -}}
{{- $settings := dict -}}
{{- range $key, $value := .table -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $tables $key $value -}}
{{- else -}}
{{- $_ := set $settings $key $value -}}
{{- end -}}
{{- end -}}
{{- if $settings }}
[{{ .name }}]
{{- range $key, $value := $settings }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{ end -}}
{{- range $key, $value := $tables -}}
{{- include "pacsless.policyTable" (dict "name" (printf "%s.%s" $.name $key) "table" $value) -}}
{{- end -}}
{{- end -}}

{{- define "pacsless.policiesEnvironment" -}}
{{- if hasKey .root.Values.policies .function.name }}
- name: PACSLESS_POLICIES
  value: /etc/pacsless/policies/{{ .function.name }}.toml
{{- end }}
{{- end -}}

{{- define "pacsless.policiesMount" -}}
{{- if hasKey .root.Values.policies .function.name }}
- name: policies
  mountPath: /etc/pacsless/policies
  readOnly: true
{{- end }}
{{- end -}}

{{- define "pacsless.policiesVolume" -}}
{{- if hasKey .root.Values.policies .function.name }}
- name: policies
  configMap:
    name: {{ include "pacsless.fullname" .root }}-policies
{{- end }}
{{- end -}}

{{/* What a trigger and the function in it are told: root, function, uses. */}}
{{- define "pacsless.triggered" -}}
{{ include "pacsless.functionEnvironment" (dict "root" .root "function" (merge (dict "uses" .uses) .function)) }}
{{- include "pacsless.policiesEnvironment" . }}
{{- end -}}

{{/*
A Deployment of triggers: root, function, arguments (after --function), uses; replicas,
"" to leave their number to KEDA; and name and image, unless they are the function's.
*/}}
{{- define "pacsless.triggerDeployment" -}}
{{- $root := .root -}}
{{- $function := .function -}}
{{- $component := .component | default $function.kubernetesName -}}
{{- $common := dict "root" $root "component" $component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "pacsless.metadata" $common | nindent 2 }}
spec:
  {{- if ne (toString .replicas) "" }}
  replicas: {{ int .replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "pacsless.selector" $common | nindent 6 }}
  template:
    metadata:
      {{- include "pacsless.podMetadata" (merge (dict "configuration" (include "pacsless.policies" .)) $common) | nindent 6 }}
    spec:
      {{- include "pacsless.pod" $common | nindent 6 }}
      # What is in hand ends first.
      terminationGracePeriodSeconds: {{ add (include "pacsless.timeout" (dict "root" $root "function" $function)) 45 }}
      containers:
        - name: trigger
          {{- include "pacsless.image" (dict "root" $root "name" (.image | default $function.kubernetesName)) | nindent 10 }}
          {{- include "pacsless.containerSecurity" $ | nindent 10 }}
          command: [python3.11, -m, pacsless]
          args:
            - trigger
            - --function={{ $function.name }}
            {{- range .arguments }}
            - {{ . | quote }}
            {{- end }}
            - --metrics-port=9090
          ports:
            - name: metrics
              containerPort: 9090
          env:
            {{- include "pacsless.overridden" (dict "given" (include "pacsless.triggered" .) "env" $function.set.env) | nindent 12 }}
          readinessProbe:
            httpGet:
              path: /metrics
              port: metrics
            periodSeconds: 5
            timeoutSeconds: 5
          livenessProbe:
            httpGet:
              path: /metrics
              port: metrics
            periodSeconds: 10
            timeoutSeconds: 10
            failureThreshold: 6
          {{- include "pacsless.functionResources" $function | nindent 10 }}
          volumeMounts:
            {{- include "pacsless.mounts" (dict "root" $root "uses" .uses) | nindent 12 }}
            {{- include "pacsless.policiesMount" . | nindent 12 }}
      volumes:
        {{- include "pacsless.volumes" (dict "root" $root "uses" .uses) | nindent 8 }}
        {{- include "pacsless.policiesVolume" . | nindent 8 }}
{{- end -}}

{{/* A function by HTTP, as a Deployment: root, function. */}}
{{- define "pacsless.functionDeployment" -}}
{{- $root := .root -}}
{{- $function := .function -}}
{{- $common := dict "root" $root "component" $function.kubernetesName -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "pacsless.metadata" $common | nindent 2 }}
spec:
  replicas: {{ .replicas | default $function.set.replicas | int }}
  selector:
    matchLabels:
      {{- include "pacsless.selector" $common | nindent 6 }}
  template:
    metadata:
      {{- include "pacsless.podMetadata" $common | nindent 6 }}
    spec:
      {{- include "pacsless.pod" $common | nindent 6 }}
      terminationGracePeriodSeconds: {{ .seconds | default 90 | int }}
      containers:
        -
          {{- include "pacsless.functionContainer" (dict "root" $root "function" $function) | nindent 10 }}
      volumes:
        {{- include "pacsless.volumes" (dict "root" $root "uses" $function.uses) | nindent 8 }}
{{- end -}}

{{/* The Service of a function: root, function, and the component of its pods if that is another. */}}
{{- define "pacsless.functionService" -}}
{{- $component := .component | default .function.kubernetesName -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "pacsless.metadata" (dict "root" .root "component" $component "name" .function.kubernetesName) | nindent 2 }}
spec:
  selector:
    {{- include "pacsless.selector" (dict "root" .root "component" $component) | nindent 4 }}
  ports:
    - name: http
      port: 8080
      targetPort: {{ .target | default "http" }}
{{- end -}}
