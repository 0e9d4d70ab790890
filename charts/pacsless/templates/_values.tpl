{{/*
Values are what the user sets, then the profile's, then values.yaml: a value that
differs by profile stands in profiles/ alone, so that what is set by hand is told
from what is not. Every template begins with `include "pacsless.init" .`.
*/}}
{{- define "pacsless.init" -}}
{{- if not .Values.initialized -}}
{{- $profile := .Files.Get (printf "profiles/%s.yaml" .Values.profile) -}}
{{- if not $profile -}}
{{- fail (printf "profile: there is no profile %q; there are local, hospital and production" .Values.profile) -}}
{{- end -}}
{{- include "pacsless.fill" (dict "onto" .Values "from" ($profile | fromYaml)) -}}
{{- $_ := set .Values "initialized" true -}}
{{- include "pacsless.validate" . -}}
{{- end -}}
{{- end -}}

{{/* Set what is missing: mergo, behind sprig's merge, takes false and 0 for missing, too. */}}
{{- define "pacsless.fill" -}}
{{- $onto := .onto -}}
{{- range $key, $value := .from -}}
{{- $there := get $onto $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $there) -}}
{{- include "pacsless.fill" (dict "onto" $there "from" $value) -}}
{{- else if or (not (hasKey $onto $key)) (kindIs "invalid" $there) -}}
{{- $_ := set $onto $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The functions, as files/functions.json has them, with what is set of each: JSON. */}}
{{- define "pacsless.functions" -}}
{{- $root := . -}}
{{- $found := list -}}
{{- range (.Files.Get "files/functions.json" | fromJson).functions -}}
{{- $own := get $root.Values.functions .name | default dict -}}
{{- $set := deepCopy $own -}}
{{- include "pacsless.fill" (dict "onto" $set "from" $root.Values.functionDefaults) -}}
{{- $enabled := ne (toString $set.enabled) "false" -}}
{{- if and (eq .kind "authorization") (not $root.Values.oauth2.issuer) -}}
{{- $enabled = false -}}
{{- end -}}
{{- if $enabled -}}
{{- $found = append $found (merge (dict "set" $set) .) -}}
{{- end -}}
{{- end -}}
{{- dict "functions" $found | toJson -}}
{{- end -}}

{{/* Whether KEDA scales: "true" or "". */}}
{{- define "pacsless.keda" -}}
{{- if eq .Values.trigger.mode "keda" -}}
{{- $wanted := toString .Values.keda.enabled -}}
{{- if eq $wanted "true" -}}true
{{- else if eq $wanted "auto" -}}
{{- if .Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject" -}}true{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
