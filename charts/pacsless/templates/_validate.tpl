{{/* What the schema cannot say: values that need each other. Each message says what to set. */}}
{{- define "pacsless.validate" -}}
{{- $v := .Values -}}
{{- if and (eq $v.archive.source "s3") (not $v.archive.s3.bucket) -}}
{{- fail "archive.s3.bucket: archive.source is s3, so set the bucket" -}}
{{- end -}}
{{- if and (eq $v.archive.source "volume") (gt (int $v.gateway.replicas) 1) (not $v.archive.volume.existingClaim) (ne $v.archive.volume.accessMode "ReadWriteMany") -}}
{{- fail "archive.volume.accessMode: several gateways share the archive, so set it to ReadWriteMany, or gateway.replicas to 1" -}}
{{- end -}}
{{- if and (eq $v.kafka.source "external") (not $v.kafka.bootstrapServers) -}}
{{- fail "kafka.bootstrapServers: kafka.source is external, so set its brokers, or kafka.source to embedded or strimzi" -}}
{{- end -}}
{{- if and $v.kafka.tls (ne $v.kafka.source "external") -}}
{{- fail (printf "kafka.tls: kafka.source is %s, which speaks none; set kafka.tls to false, or kafka.source to external" $v.kafka.source) -}}
{{- end -}}
{{- if and $v.kafka.tls (eq $v.trigger.mode "knative") -}}
{{- fail "kafka.tls: a KafkaSource would need the authority in a Secret of its own, which this chart makes none of; set trigger.mode to keda" -}}
{{- end -}}
{{- if and (ne $v.kafka.source "external") $v.kafka.bootstrapServers -}}
{{- fail (printf "kafka.bootstrapServers: kafka.source is %s; set it to external to use these brokers" $v.kafka.source) -}}
{{- end -}}
{{- if and (eq $v.postgres.source "external") (not $v.postgres.existingSecret) -}}
{{- fail "postgres.existingSecret: postgres.source is external, so make a Secret with its address under the key url and name it here, or set postgres.source to embedded or cloudnativepg" -}}
{{- end -}}
{{- if and (eq $v.redis.source "external") (not $v.redis.existingSecret) -}}
{{- fail "redis.existingSecret: redis.source is external, so make a Secret with its address under the key url and name it here, or set redis.source to embedded or none" -}}
{{- end -}}
{{- range list "postgres" "redis" "doris" -}}
{{- $own := get $v . -}}
{{- if and (not (has $own.source (list "external" "doris-operator"))) $own.existingSecret -}}
{{- fail (printf "%s.existingSecret: %s.source is %s; set it to external to use this Secret" . . $own.source) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.doris.source "external" -}}
{{- range list "frontEnd" "mysql" "redirectHosts" "existingSecret" -}}
{{- if not (get $v.doris .) -}}
{{- fail (printf "doris.%s: doris.source is external, so set it, or doris.source to embedded" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $v.doris.source "doris-operator" -}}
{{- range list "frontEnd" "mysql" "redirectHosts" -}}
{{- if get $v.doris . -}}
{{- fail (printf "doris.%s: doris.source is doris-operator; set it to external to use this" .) -}}
{{- end -}}
{{- end -}}
{{- if not $v.doris.operator.version -}}
{{- fail "doris.operator.version: doris.source is doris-operator, so say which Doris, as its images are tagged" -}}
{{- end -}}
{{- if not $v.doris.existingSecret -}}
{{- fail "doris.existingSecret: doris.source is doris-operator, so make a Secret of type kubernetes.io/basic-auth with username and password and name it here" -}}
{{- end -}}
{{- end -}}
{{- range (include "pacsless.functions" . | fromJson).functions -}}
{{- if eq .kind "event" -}}
{{- $least := include "pacsless.minReplicas" (dict "root" $ "function" .) | int -}}
{{- $most := include "pacsless.maxReplicas" (dict "root" $ "function" .) | int -}}
{{- if gt $least $most -}}
{{- fail (printf "functions.%s.minReplicas: %d pods at least, but %d at most, by kafka.partitions, functions.%s.maxReplicas or policies.%s.scale.max_workers" .name $least $most .name .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not $v.gateway.plain) (not $v.gateway.tls.enabled) -}}
{{- fail "gateway.plain: nothing would listen; set it or gateway.tls.enabled to true" -}}
{{- end -}}
{{- if and $v.gateway.tls.enabled (not $v.gateway.tls.existingSecret) -}}
{{- fail "gateway.tls.existingSecret: gateway.tls.enabled is true, so make a Secret of type kubernetes.io/tls and name it here" -}}
{{- end -}}
{{- if and $v.gateway.tls.clientCertificates (not $v.gateway.tls.enabled) -}}
{{- fail "gateway.tls.clientCertificates: nobody is asked for one, as gateway.tls.enabled is false; set it to true" -}}
{{- end -}}
{{- if and $v.gateway.plain $v.gateway.tls.enabled $v.gateway.tls.clientCertificates (not $v.gateway.aeFile) -}}
{{- fail "gateway.plain: gateway.tls.clientCertificates asks senders for a certificate, and without TLS all would be let in; set gateway.plain to false, or say in gateway.aeFile who may" -}}
{{- end -}}
{{- if and (not $v.gateway.aeFile) (not $v.gateway.aeTitles) -}}
{{- fail "gateway.aeTitles: no sender would be let in; set one, or gateway.aeFile" -}}
{{- end -}}
{{- if and $v.nginx.ingress.enabled (not $v.nginx.ingress.host) -}}
{{- fail "nginx.ingress.host: nginx.ingress.enabled is true, so set the host name" -}}
{{- end -}}
{{- if and $v.nginx.httpRoute.enabled (not $v.nginx.httpRoute.parentRefs) -}}
{{- fail "nginx.httpRoute.parentRefs: nginx.httpRoute.enabled is true, so say of which Gateway" -}}
{{- end -}}
{{- if eq $v.trigger.mode "openfaas" -}}
{{- if ne $v.archive.source "s3" -}}
{{- fail "archive.source: OpenFaaS gives functions no volumes, so with trigger.mode openfaas set it to s3" -}}
{{- end -}}
{{- if not $v.openfaas.secret -}}
{{- fail "openfaas.secret: with trigger.mode openfaas, make a Secret in openfaas.functionNamespace (docs/install.md says of what) and name it here" -}}
{{- end -}}
{{- end -}}
{{- $there := dict -}}
{{- range (.Files.Get "files/functions.json" | fromJson).functions -}}
{{- $_ := set $there .name .kind -}}
{{- end -}}
{{- range $name, $_ := $v.functions -}}
{{- if not (hasKey $there $name) -}}
{{- fail (printf "functions.%s: there is no such function; there are %s" $name (keys $there | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $v.policies -}}
{{- if ne (get $there $name) "event" -}}
{{- fail (printf "policies.%s: no such function takes events" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
